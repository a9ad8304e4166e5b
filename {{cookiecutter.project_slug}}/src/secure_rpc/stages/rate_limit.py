"""How many calls a principal may make, by tenant and class of method."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Mapping
from datetime import timedelta

from secure_rpc import errors
from secure_rpc.call import Call, Method
from secure_rpc.chain import Middleware, Proceed
from secure_rpc.quota import Quota, QuotaHeaders, QuotaKey
from secure_rpc.stages.quota_headers import QuotaFields
from secure_rpc.state.availability import PAUSE_SECONDS, StoreUnavailable
from secure_rpc.state.quotas import QuotaStore

DEFAULT_CLASS = "default"


class RateLimit:
    """Refuse calls past the quota, and say when to come again.

    Args:
        store: counts.
        quotas: by class; "default" for methods that name none. What the policy gives a principal comes before them.
        headers: which calls are told of their quota.
    """

    def __init__(
        self, store: QuotaStore, quotas: Mapping[str, Quota], headers: QuotaHeaders = QuotaHeaders.REFUSED
    ) -> None:
        self._store = store
        self._quotas = quotas
        self._headers = headers

    def bind(self, method: Method) -> Middleware | None:
        """Limit every method that has a principal to count for, those that do not exist included."""
        if method.contract.public:
            return None
        quota_class = method.contract.quota_class or DEFAULT_CLASS
        limit = self._limiting(quota_class)
        return limit if self._headers is QuotaHeaders.REFUSED else self._telling(limit, quota_class)

    def _limiting(self, quota_class: str) -> Middleware:
        usual, take = self._quotas[quota_class], self._store.take

        def limit(call: Call, proceed: Proceed) -> Awaitable[None]:
            key = _key(call, quota_class)
            quota = call.quotas.get(quota_class, usual) if call.quotas else usual
            try:
                taken = take(key, quota)
            except StoreUnavailable:
                raise _unavailable() from None
            if not isinstance(taken, float):  # few: those that come near their limit, where it is counted elsewhere
                return hear(call, proceed, quota, taken)
            if taken:
                raise _exhausted(call, quota_class, quota, taken)
            return proceed(call)

        async def hear(call: Call, proceed: Proceed, quota: Quota, taken: Awaitable[float]) -> None:
            try:
                wait_seconds = await taken
            except StoreUnavailable:
                raise _unavailable() from None
            if wait_seconds:
                raise _exhausted(call, quota_class, quota, wait_seconds)
            await proceed(call)

        return limit

    def _telling(self, limit: Middleware, quota_class: str) -> Middleware:
        usual = self._quotas[quota_class]

        async def tell(call: Call, proceed: Proceed) -> None:
            try:
                await limit(call, proceed)
            except errors.StatusError as error:
                if error.reason != "QUOTA_EXHAUSTED":
                    self._tell(call, quota_class, usual)
                raise
            self._tell(call, quota_class, usual)

        return tell

    def _tell(self, call: Call, quota_class: str, usual: Quota) -> None:
        """Add what is left of the quota to what the call ends with."""
        if call.principal is None:
            return
        quota = call.quotas.get(quota_class, usual) if call.quotas else usual
        remaining = self._store.remaining(_key(call, quota_class), quota)
        told = _fields(quota_class, quota).left(remaining)
        call.context.set_trailing_metadata((*call.context.trailing_metadata(), *told))


def _key(call: Call, quota_class: str) -> QuotaKey:
    principal = call.principal
    if principal is None:
        raise errors.Unauthenticated(reason="IDENTITY_MISSING")
    tenants = principal.tenants
    return QuotaKey(principal.account, ",".join(sorted(tenants) if len(tenants) > 1 else tenants), quota_class)


@functools.lru_cache(1000)
def _fields(quota_class: str, quota: Quota) -> QuotaFields:
    return QuotaFields(quota_class, quota)


def _exhausted(call: Call, quota_class: str, quota: Quota, wait_seconds: float) -> errors.ResourceExhausted:
    description = str(quota)
    trailers: errors.Metadata = _fields(quota_class, quota).refused(wait_seconds)
    remaining = call.time_remaining()
    if remaining is not None and remaining <= wait_seconds:  # waiting would hide the reason behind the deadline
        trailers = (*trailers, (errors.PUSHBACK_KEY, errors.NO_RETRY))
    return errors.ResourceExhausted(
        f"the quota is used up: {description}",
        reason="QUOTA_EXHAUSTED",
        details=[
            errors.retry_after(timedelta(microseconds=-int(-wait_seconds * 1e6 // 1))),
            errors.quota_failure(f"quota-class:{quota_class}", description),
        ],
        trailers=trailers,
    )


def _unavailable() -> errors.Unavailable:
    return errors.Unavailable(
        "it cannot be told whether your quota is used up, try again",
        reason="QUOTA_STORE_UNAVAILABLE",
        details=[errors.retry_after(timedelta(seconds=PAUSE_SECONDS))],
    )
