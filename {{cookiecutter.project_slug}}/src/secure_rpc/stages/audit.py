"""One record per call, refusals and unknown methods included."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from secure_rpc import errors
from secure_rpc.audit.chain_log import ChainLog
from secure_rpc.audit.settings import Durability
from secure_rpc.call import Call, Method, Outcome
from secure_rpc.chain import Middleware, Proceed
from secure_rpc.observing import NotedCall, Observer, observed
from secure_rpc.redaction import REDACTED, is_hidden, redacted

MAX_FIELD_CHARACTERS = 256  # of a request's field in a record


class Audit:
    """Record each call.

    Args:
        log: where to.
        durability: whether the reply waits until the record is on disk.
        refuse_when_unwritable: whether calls are refused while records cannot be written.
    """

    def __init__(
        self, log: ChainLog, durability: Durability = Durability.DEFERRED, *, refuse_when_unwritable: bool = True
    ) -> None:
        self._log = log
        self._durable = durability is Durability.DURABLE
        self._refuse_when_unwritable = refuse_when_unwritable

    def bind(self, method: Method) -> Observer | Middleware:
        """Record every method, also those that do not exist."""
        log, add, wanted = self._log, self._log.add, method.contract.audit_fields
        refuse = self._refuse_when_unwritable

        def begin(call: Call) -> None:
            if wanted:
                call.check_requests(_first_fields(wanted, call))
            if log.failing and refuse:
                raise errors.Unavailable(reason="AUDIT_UNAVAILABLE")

        def end(_call: Call, noted: NotedCall, _outcome: Outcome) -> None:
            add(noted)

        observer = Observer(begin, end)
        if not self._durable:
            return observer

        observe = observed(method, [observer])

        async def record(call: Call, proceed: Proceed) -> None:
            await observe(call, proceed)
            await self._wait()

        return record

    async def _wait(self) -> None:
        try:
            await self._log.durable()
        except OSError as error:
            if self._refuse_when_unwritable:
                raise errors.Unavailable(reason="AUDIT_UNAVAILABLE") from error


def _first_fields(wanted: tuple[str, ...], call: Call) -> Callable[[Any], None]:
    def note(message: Any) -> None:
        if not call.noted_fields:
            call.noted_fields = [(name, _shown(message, name)[:MAX_FIELD_CHARACTERS]) for name in wanted]

    return note


def _shown(message: Any, name: str) -> str:
    field = message.DESCRIPTOR.fields_by_name[name]
    if is_hidden(field):
        return REDACTED
    if field.message_type is None:
        return str(getattr(message, name))
    return str(redacted(message).get(field.json_name, ""))
