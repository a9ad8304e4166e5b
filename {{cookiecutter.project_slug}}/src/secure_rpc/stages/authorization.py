"""What the method asks, against what the policy gives: denied unless both say otherwise."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from secure_rpc import errors
from secure_rpc.call import Call, Method
from secure_rpc.chain import Middleware, Proceed
from secure_rpc.policy.active import ActivePolicy
from secure_rpc.policy.engine import Decision

MAX_TENANT_CHARACTERS = 128  # in records: what callers send may be long
MAX_TENANTS_REMEMBERED = 1000  # of one stream


class Authorization:
    """Refuse what the policy does not allow.

    Args:
        policy: decides.
        on_decided: is told, of calls that are timed, whose identity it was and when authentication began, by
            `time.perf_counter`.
    """

    def __init__(
        self, policy: ActivePolicy, on_decided: Callable[[str, float], None] = lambda _identity, _began: None
    ) -> None:
        self._policy = policy
        self._on_decided = on_decided

    def bind(self, method: Method) -> Middleware | None:
        """Guard every method that exists and is not public."""
        contract, policy, on_decided = method.contract, self._policy, self._on_decided
        if contract.public or not method.path:
            return None
        tenant_field, lasts = contract.tenant_field, method.request_streaming or method.response_streaming

        def authorize(call: Call, proceed: Proceed) -> Awaitable[None]:
            principal = call.principal
            if principal is None:
                raise errors.Unauthenticated(reason="IDENTITY_MISSING")
            decision = policy.decide(principal, method, call.metadata)
            call.rule, call.policy, call.quotas = decision.rule, decision.policy, decision.quotas
            if call.auth_began is not None:
                on_decided(*call.auth_began)
            if not decision.allowed:
                raise _denied()
            if lasts:
                stream = _Stream(policy, call, decision)
                call.check_requests(stream.check)
                call.review_with(stream.review)
            elif decision.per_message:
                call.check_requests(_Stream(policy, call, decision).check)
            elif tenant_field:
                call.check_requests(_tenant_check(call, tenant_field, decision))
            return proceed(call)

        return authorize


def _denied() -> errors.PermissionDenied:
    return errors.PermissionDenied(reason="PERMISSION_MISSING")


def _tenant_check(call: Call, field: str, decision: Decision) -> Callable[[Any], None]:
    """Return the check of a message: the tenant it names is one whose data the caller may touch."""

    def check(message: Any) -> None:
        _check_tenant(call, field, message, decision)

    return check


def _check_tenant(call: Call, field: str, message: Any, decision: Decision) -> str:
    """Return the tenant that a message names.

    Raises:
        InvalidArgument: it names none.
        PermissionDenied: it names one whose data the caller may not touch.
    """
    tenant: str = getattr(message, field)
    call.tenant = tenant[:MAX_TENANT_CHARACTERS]
    if not tenant:
        violation = errors.bad_request({field: "name the tenant"})
        raise errors.InvalidArgument("the tenant is missing", reason="TENANT_MISSING", details=[violation])
    if not decision.covers(tenant):
        raise errors.PermissionDenied("the tenant is not yours", reason="TENANT_DENIED")
    return tenant


class _Stream:
    """What a call was allowed, message by message, and whether it still is.

    Args:
        policy: decides.
        call: that goes on.
        decision: by which it began.
    """

    __slots__ = ("_call", "_decision", "_field", "_message", "_policy", "_tenants")

    def __init__(self, policy: ActivePolicy, call: Call, decision: Decision) -> None:
        self._policy = policy
        self._call = call
        self._decision = decision
        self._field = call.method.contract.tenant_field
        self._tenants: set[str] = set()
        self._message: Any = None  # the last one: the conditions of another policy may look at it

    def check(self, message: Any) -> None:
        """Refuse a message that the policy does not allow."""
        self._message = message
        if self._decision.per_message:
            self._decide()
        if self._field:
            tenant = _check_tenant(self._call, self._field, message, self._decision)
            if len(self._tenants) <= MAX_TENANTS_REMEMBERED:
                self._tenants.add(tenant)

    def review(self) -> None:
        """Refuse to go on where the policy of now would not have allowed what was done so far."""
        self._decide()
        everything = self._decision.tenants is None
        if not everything and (
            len(self._tenants) > MAX_TENANTS_REMEMBERED or not all(map(self._decision.covers, self._tenants))
        ):
            raise errors.PermissionDenied("the tenant is not yours any more", reason="TENANT_DENIED")

    def _decide(self) -> None:
        """Decide anew, by the policy and the principal of now."""
        call = self._call
        if call.principal is None:
            raise errors.Unauthenticated(reason="IDENTITY_MISSING")
        decision = self._policy.decide(call.principal, call.method, call.metadata, self._message)
        call.rule, call.policy = decision.rule, decision.policy
        if not decision.allowed:
            raise _denied()
        self._decision = decision
