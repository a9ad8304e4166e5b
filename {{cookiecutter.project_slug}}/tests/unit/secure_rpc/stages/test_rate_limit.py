"""A principal has its quota, by tenant and class of method, and is told when to come again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeAlias

import pytest
from google.rpc import error_details_pb2

from secure_rpc import errors
from secure_rpc.call import Call, Method, Principal
from secure_rpc.quota import Quota, QuotaHeaders
from secure_rpc.stages.quota_headers import QuotaFields
from secure_rpc.stages.rate_limit import RateLimit
from secure_rpc.state.availability import StoreUnavailable
from secure_rpc.state.memory import MemoryQuotas

MakeCall: TypeAlias = Callable[..., Call]
MakeMethod: TypeAlias = Callable[..., Method]
QUOTAS = {"default": Quota(calls=2, period_seconds=4), "bulk": Quota(calls=1)}


def user(subject: str = "alice", issuer: str = "https://one.example", *tenants: str) -> Principal:
    return Principal("spiffe://example.org/a", issuer, subject, frozenset(tenants))


@pytest.fixture
def stage() -> RateLimit:
    return RateLimit(MemoryQuotas(clock=lambda: 100.0), QUOTAS)


async def attempt(stage: RateLimit, method: Method, call: Call) -> errors.StatusError | None:
    async def proceed(_call: Call) -> None:
        pass

    middleware = stage.bind(method)
    assert middleware is not None
    try:
        await middleware(call, proceed)
    except errors.StatusError as error:
        return error
    return None


async def used_up(stage: RateLimit, method: Method, make: MakeCall, principal: Principal) -> int:
    """Return how many calls are let through."""
    return [await attempt(stage, method, make(principal)) for _ in range(10)].count(None)


async def test_past_the_quota_the_caller_is_told_which_and_when_to_come_again(
    stage: RateLimit, method: MakeMethod, call: MakeCall
) -> None:
    assert await used_up(stage, method(), call, user()) == 2
    found = await attempt(stage, method(), call(user()))
    assert isinstance(found, errors.ResourceExhausted)
    assert (found.message, found.reason) == ("the quota is used up: 2 calls in 4 s", "QUOTA_EXHAUSTED")
    retry, quota = found.details
    assert isinstance(retry, error_details_pb2.RetryInfo)
    assert retry.retry_delay.ToTimedelta() == timedelta(seconds=2)
    assert isinstance(quota, error_details_pb2.QuotaFailure)
    assert quota.violations[0].subject == "quota-class:default"


async def test_a_refusal_carries_the_fields_of_the_draft_and_what_clients_that_retry_wait_for(
    stage: RateLimit, method: MakeMethod, call: MakeCall
) -> None:
    await used_up(stage, method(), call, user())
    found = await attempt(stage, method(), call(user()))
    assert found is not None
    trailers = dict(found.trailing_metadata())
    assert trailers["ratelimit-policy"] == '"default";q=2;w=4'
    assert trailers["ratelimit"] == '"default";r=0;t=2'
    assert trailers["grpc-retry-pushback-ms"] == "2000"


async def test_who_has_no_time_to_wait_is_told_not_to_come_again(
    stage: RateLimit, method: MakeMethod, call: MakeCall
) -> None:
    await used_up(stage, method(), call, user())
    for remaining_seconds, pushback in ((1.9, "-1"), (2.1, "2000")):
        late = call(user())
        late.context.remaining_seconds = remaining_seconds
        found = await attempt(stage, method(), late)
        assert found is not None
        assert dict(found.trailing_metadata())["grpc-retry-pushback-ms"] == pushback


async def test_all_calls_are_told_what_is_left_where_that_is_set(method: MakeMethod, call: MakeCall) -> None:
    telling = RateLimit(MemoryQuotas(clock=lambda: 100.0), QUOTAS, QuotaHeaders.ALL)
    silent = RateLimit(MemoryQuotas(clock=lambda: 100.0), QUOTAS)
    for left, seconds in ((1, 2), (0, 4)):
        made = call(user())
        made.context.trailers = (("mine", "too"),)
        assert await attempt(telling, method(), made) is None
        assert made.context.trailers == (
            ("mine", "too"),
            ("ratelimit-policy", '"default";q=2;w=4'),
            ("ratelimit", f'"default";r={left};t={seconds}'),
        )
        made = call(user())
        assert await attempt(silent, method(), made) is None
        assert made.context.trailers == ()
    made = call(user())
    assert await attempt(telling, method(), made) is not None
    assert made.context.trailers == ()  # the refusal has them


async def test_what_the_policy_gives_counts_in_place_of_the_settings(
    stage: RateLimit, method: MakeMethod, call: MakeCall
) -> None:
    def given(principal: Principal) -> Call:
        made = call(principal)
        made.quotas = {"default": Quota(calls=5)}
        return made

    assert await used_up(stage, method(), given, user()) == 5
    assert await used_up(stage, method(quota_class="bulk"), given, user()) == 1


class Away:
    """A store that does not answer."""

    round_trips = 0

    async def take(self, _key: object, _quota: object) -> float:
        raise StoreUnavailable

    def remaining(self, _key: object, _quota: object) -> int:
        return 0

    async def close(self) -> None:
        pass


async def test_where_it_cannot_be_told_the_call_is_refused_and_may_come_again(
    method: MakeMethod, call: MakeCall
) -> None:
    found = await attempt(RateLimit(Away(), QUOTAS), method(), call(user()))
    assert isinstance(found, errors.Unavailable)
    assert found.reason == "QUOTA_STORE_UNAVAILABLE"
    [retry] = found.details
    assert retry.retry_delay.ToTimedelta() == timedelta(seconds=1)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("quota_class", "quota", "policy"),
    [
        ("bulk", Quota(calls=100, period_seconds=60), '"bulk";q=100;w=60'),
        ("bulk", Quota(calls=5, period_seconds=0.5), '"bulk";q=10;w=1'),
        ("bulk", Quota(calls=3, period_seconds=1.5), '"bulk";q=4;w=2'),
        ('a "b" \\ ü', Quota(calls=1), '"a \\"b\\" \\\\ ?";q=1;w=1'),
    ],
)
def test_the_policy_field_is_a_structured_field_in_whole_numbers(quota_class: str, quota: Quota, policy: str) -> None:
    assert QuotaFields(quota_class, quota).refused(0.3) == (
        ("ratelimit-policy", policy),
        ("ratelimit", policy.partition(";q")[0] + ";r=0;t=1"),
    )


@pytest.mark.parametrize(
    "other",
    [
        user("bob"),
        user("alice", "https://two.example"),
        user("alice", "https://one.example", "acme"),
        Principal("spiffe://example.org/a"),
    ],
)
async def test_others_are_not_held_up(stage: RateLimit, method: MakeMethod, call: MakeCall, other: Principal) -> None:
    assert await used_up(stage, method(), call, user()) == 2
    assert await used_up(stage, method(), call, other) == 2


async def test_another_class_has_a_quota_of_its_own(stage: RateLimit, method: MakeMethod, call: MakeCall) -> None:
    assert await used_up(stage, method(), call, user()) == 2
    assert await used_up(stage, method(quota_class="bulk"), call, user()) == 1


async def test_methods_of_one_class_share_a_quota_those_that_do_not_exist_too(
    stage: RateLimit, method: MakeMethod, call: MakeCall
) -> None:
    assert await used_up(stage, method("/a.B/C"), call, user()) == 2
    assert await used_up(stage, method("/a.B/D"), call, user()) == 0
    assert await used_up(stage, method(""), call, user()) == 0


async def test_a_workload_has_one_quota_whatever_connection_it_calls_from(
    stage: RateLimit, method: MakeMethod, call: MakeCall
) -> None:
    workload = Principal("spiffe://example.org/a", expires_at_seconds=1)
    assert await used_up(stage, method(), call, workload) == 2
    again: Any = Principal("spiffe://example.org/a", expires_at_seconds=2)
    assert await used_up(stage, method(), call, again) == 0


def test_public_methods_have_nobody_to_count_for(stage: RateLimit, method: MakeMethod) -> None:
    assert stage.bind(method(public=True)) is None


async def test_a_chain_that_forgot_authentication_lets_nobody_through(
    stage: RateLimit, method: MakeMethod, call: MakeCall
) -> None:
    found = await attempt(stage, method(), call(None))
    assert isinstance(found, errors.Unauthenticated)
    assert found.reason == "IDENTITY_MISSING"


def test_a_class_without_a_quota_keeps_the_service_from_starting(stage: RateLimit, method: MakeMethod) -> None:
    with pytest.raises(KeyError):
        stage.bind(method(quota_class="unheard-of"))
