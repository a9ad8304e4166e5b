"""One record per call, refusals and unknown methods included."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from secure_rpc import errors
from secure_rpc.audit.chain_log import ChainLog, Durability
from secure_rpc.audit.record import AuditRecord
from secure_rpc.call import Call, Method
from secure_rpc.chain import Middleware, Proceed

MAX_FIELD_CHARACTERS = 256  # of a request's field in a record


class Audit:
    """Record each call.

    Args:
        log: where to.
        durability: whether the reply waits until the record is on disk.
        refuse_when_unwritable: whether calls are refused while records cannot be written.
        clock: gives Unix time in seconds.
    """

    def __init__(
        self,
        log: ChainLog,
        durability: Durability = Durability.DEFERRED,
        *,
        refuse_when_unwritable: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._log = log
        self._durable = durability is Durability.DURABLE
        self._refuse_when_unwritable = refuse_when_unwritable
        self._clock = clock

    def bind(self, method: Method) -> Middleware:
        """Record every method, also those that do not exist."""
        clock, kind, wanted = self._clock, method.kind, method.contract.audit_fields

        async def record(call: Call, proceed: Proceed) -> None:
            started = clock()
            fields: list[tuple[str, str]] = []
            if wanted:
                call.check_requests(_first_fields(wanted, fields))
            error: BaseException | None = None
            try:
                self._check_writable()
                await proceed(call)
            except BaseException as caught:
                error = caught
                raise
            finally:
                outcome = call.outcome(error)
                self._log.add(
                    AuditRecord(
                        started,
                        call.id,
                        call.path,
                        kind,
                        call.principal,
                        call.workload,
                        call.tenant,
                        call.rule,
                        call.address,
                        outcome.code.name,
                        outcome.reason,
                        clock() - started,
                        tuple(fields),
                        call.policy,
                        call.trace.trace_id if call.trace is not None else "",
                    )
                )
            if self._durable:
                await self._wait()

        return record

    def _check_writable(self) -> None:
        if self._log.failing and self._refuse_when_unwritable:
            raise errors.Unavailable(reason="AUDIT_UNAVAILABLE")

    async def _wait(self) -> None:
        try:
            await self._log.durable()
        except OSError as error:
            if self._refuse_when_unwritable:
                raise errors.Unavailable(reason="AUDIT_UNAVAILABLE") from error


def _first_fields(wanted: tuple[str, ...], fields: list[tuple[str, str]]) -> Callable[[Any], None]:
    def note(message: Any) -> None:
        if not fields:
            fields.extend((name, str(getattr(message, name))[:MAX_FIELD_CHARACTERS]) for name in wanted)

    return note
