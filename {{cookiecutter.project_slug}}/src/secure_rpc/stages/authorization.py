"""What the method asks, against what the policy gives: denied unless both say otherwise."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from secure_rpc import errors
from secure_rpc.call import Call, Method
from secure_rpc.chain import Middleware, Proceed
from secure_rpc.policy.engine import Decision, Engine

MAX_TENANT_CHARACTERS = 128  # in records: what callers send may be long


class Authorization:
    """Refuse what the policy does not allow.

    Args:
        engine: decides.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def bind(self, method: Method) -> Middleware | None:
        """Guard every method that exists and is not public."""
        contract = method.contract
        if contract.public or not method.path:
            return None
        decide, tenant_field = self._engine.decide, contract.tenant_field

        def authorize(call: Call, proceed: Proceed) -> Awaitable[None]:
            if call.principal is None:
                raise errors.Unauthenticated(reason="IDENTITY_MISSING")
            decision = decide(call.principal, contract)
            call.rule = decision.rule
            if not decision.allowed:
                raise errors.PermissionDenied(reason="PERMISSION_MISSING")
            if tenant_field:
                call.check_requests(_tenant_check(call, tenant_field, decision))
            return proceed(call)

        return authorize


def _tenant_check(call: Call, field: str, decision: Decision) -> Callable[[Any], None]:
    """Return the check of each message: the tenant it names is one whose data the caller may touch."""

    def check(message: Any) -> None:
        tenant: str = getattr(message, field)
        call.tenant = tenant[:MAX_TENANT_CHARACTERS]
        if not tenant:
            violation = errors.bad_request({field: "name the tenant"})
            raise errors.InvalidArgument("the tenant is missing", reason="TENANT_MISSING", details=[violation])
        if not decision.covers(tenant):
            raise errors.PermissionDenied("the tenant is not yours", reason="TENANT_DENIED")

    return check
