"""How many calls a principal may make, by tenant and class of method."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from secure_rpc import errors
from secure_rpc.call import Call, Method
from secure_rpc.chain import Middleware, Proceed
from secure_rpc.quota import Quota, QuotaKey
from secure_rpc.state.quotas import QuotaStore

DEFAULT_CLASS = "default"


class RateLimit:
    """Refuse calls past the quota, and say when to come again.

    Args:
        store: counts.
        quotas: by class; "default" for methods that name none.
    """

    def __init__(self, store: QuotaStore, quotas: Mapping[str, Quota]) -> None:
        self._store = store
        self._quotas = quotas

    def bind(self, method: Method) -> Middleware | None:
        """Limit every method that has a principal to count for, those that do not exist included."""
        if method.contract.public:
            return None
        quota_class = method.contract.quota_class or DEFAULT_CLASS
        quota, take = self._quotas[quota_class], self._store.take

        async def limit(call: Call, proceed: Proceed) -> None:
            principal = call.principal
            if principal is None:
                raise errors.Unauthenticated(reason="IDENTITY_MISSING")
            name = f"{principal.issuer} {principal.subject}" if principal.subject else principal.workload
            wait_seconds = await take(QuotaKey(name, ",".join(sorted(principal.tenants)), quota_class), quota)
            if wait_seconds:
                raise _exhausted(quota_class, quota, wait_seconds)
            await proceed(call)

        return limit


def _exhausted(quota_class: str, quota: Quota, wait_seconds: float) -> errors.ResourceExhausted:
    description = f"{quota.calls} calls in {quota.period_seconds:g} s"
    return errors.ResourceExhausted(
        f"the quota is used up: {description}",
        reason="QUOTA_EXHAUSTED",
        details=[
            errors.retry_after(timedelta(seconds=wait_seconds)),
            errors.quota_failure(f"quota-class:{quota_class}", description),
        ],
    )
