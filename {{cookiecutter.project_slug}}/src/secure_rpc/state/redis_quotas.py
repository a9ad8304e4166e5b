"""Quotas that all replicas count in one store, without a round trip for callers far from their limit."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
import time
from collections.abc import Callable
from contextvars import Context
from itertools import count, islice

from secure_rpc.quota import Quota, QuotaKey
from secure_rpc.state.availability import StoreUnavailable
from secure_rpc.state.quota_account import SHARE, Account, Need
from secure_rpc.state.quota_script import LAPSES_SECONDS, Answer, Ask, QuotaScript
from secure_rpc.state.quotas import QuotaStore, Taken, answered
from secure_rpc.state.redis import Store

IDLE_SECONDS = 2.0  # without a call; then what was reserved for it goes back
LOOK_SECONDS = 0.5  # between two looks for idle callers
IDLE_PER_LOOK = 1000  # the loop must not stop for them
ASKS_PER_TRIP = 100
MAX_TRIPS = 8  # at once; what is asked meanwhile goes together with the next
ROUNDING_SECONDS = 1e-6  # of clocks: what is due within it is due, and the store has the last word
PATIENCE_SECONDS = 0.03  # that a call waits longer than the store may take: a late answer is better than none

logger = logging.getLogger(__name__)


class RedisQuotas:
    """Quotas of all replicas together; see `QuotaStore`.

    GCRA in the store counts each call once. A replica takes calls ahead for a caller that has more than half of its
    burst left: about as many as that caller made in the last second, and all replicas together no more than a tenth
    of the burst, rounded down (none of a burst below 10). The next calls are let through at once, and the reservation
    is filled up in the background. It goes back when the caller has been idle, and when the replica ends.

    So, at any moment, with B the burst and E = B // 10: no more calls have been let through than GCRA with the burst B
    would have let through of the same calls, and no fewer than GCRA with the burst B - E would have. What a
    replica had reserved when it died, or when an answer of the store was lost, counts as calls, of which there are no
    more than E each time. A store that has lost its memory begins anew: each caller has its burst again, and what is
    still reserved, at most E calls, beside.

    Args:
        store: where they are counted.
        timeout_seconds: that an answer of the store may take; no call waits much longer, for whatever reason.
        fallback: decides while the store is away; none for `StoreUnavailable`.
        size: how many callers are remembered here. Those forgotten are known to the store.
        on_decision_without_store: told of each decision without the store whether the call was let through.
        script: counts.
        clock: gives seconds that only grow.
    """

    def __init__(
        self,
        store: Store,
        timeout_seconds: float,
        fallback: QuotaStore | None,
        size: int = 100_000,
        *,
        on_decision_without_store: Callable[[bool], None] = lambda _allowed: None,
        script: QuotaScript | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._fallback = fallback
        self._size = size
        self._on_decision_without_store = on_decision_without_store
        self._script = script or QuotaScript()
        self._clock = clock
        self._patience_seconds = timeout_seconds + PATIENCE_SECONDS
        self._id = secrets.token_hex(6)
        self._holders = count()
        self._accounts: dict[QuotaKey, Account] = {}  # least recently used first
        self._queue: dict[Need, None] = {}
        self._trips: set[asyncio.Task[None]] = set()
        self._soon: asyncio.Handle | None = None
        self._look: asyncio.TimerHandle | None = None
        self.round_trips = 0

    def take(self, key: QuotaKey, quota: Quota) -> Taken:
        """Count a call; see `QuotaStore`."""
        now = self._clock()
        account = self._account(key, quota, now)
        if account.stock:
            account.stock -= 1
            account.used += 1
            if 2 * account.stock <= account.target and not account.asking:
                account.asking = True
                self._enqueue(Need(account, ahead=account.wanted()))
            return 0.0
        if account.refused_until - now > ROUNDING_SECONDS:
            return account.refused_until - now
        return self._heard(account, key, quota)

    async def _heard(self, account: Account, key: QuotaKey, quota: Quota) -> float:
        try:
            return await self._wait(account)
        except StoreUnavailable:
            if self._fallback is None:
                self._on_decision_without_store(False)  # noqa: FBT003
                raise
        wait_seconds = await answered(self._fallback.take(key, quota))
        self._on_decision_without_store(not wait_seconds)
        return wait_seconds

    def remaining(self, key: QuotaKey, quota: Quota) -> int:
        """Return how many calls could be made now, by what the store said last; see `QuotaStore`."""
        account = self._accounts.get(key)
        if account is None or account.quota is not quota or account.left_at is None:
            return quota.size
        since = self._clock() - account.left_at
        return min(account.burst, account.left + account.stock + int(since / quota.interval_seconds))

    def give_back(self, idle_seconds: float = IDLE_SECONDS) -> None:
        """Give back what was reserved for callers that have not called for a while, and forget them."""
        now = self._clock()
        for key, account in list(islice(self._accounts.items(), IDLE_PER_LOOK)):
            if now - account.called_at < idle_seconds:
                break
            del self._accounts[key]
            self._release(account)

    async def settled(self) -> None:
        """Return when nothing is asked of the store any more."""
        while self._queue or self._trips:
            self._send()
            await asyncio.wait(list(self._trips))

    async def close(self) -> None:
        """Give back what is reserved; a store that does not answer keeps nobody waiting."""
        while self._accounts:
            self.give_back(idle_seconds=-1)
        for handle in (self._look, self._soon):
            if handle is not None:
                handle.cancel()
        try:
            async with asyncio.timeout(self._patience_seconds):
                await self.settled()
        except TimeoutError:
            logger.debug("what was reserved of quotas was not given back: the store does not answer")

    def __len__(self) -> int:
        """Return how many callers are remembered."""
        return len(self._accounts)

    def _account(self, key: QuotaKey, quota: Quota, now: float) -> Account:
        account = self._accounts.pop(key, None)
        if account is None:
            account = Account(self._name(key), self._holder(), quota)
            if len(self._accounts) >= self._size:
                self._release(self._accounts.pop(next(iter(self._accounts))))
            if self._look is None:
                self._look_later()
        elif account.quota is not quota:
            if account.quota != quota:
                self._release(account)
            account.set_quota(quota)
        if account.stock and now >= account.lasts_until:
            account.begin(self._holder())
        self._accounts[key] = account
        account.count(now)
        return account

    def _name(self, key: QuotaKey) -> str:
        """Return the name in the store: short, and nobody's."""
        return self._store.key(f"quota:{hashlib.blake2b(repr(tuple(key)).encode(), digest_size=16).hexdigest()}")

    def _holder(self) -> str:
        return f"{self._id}.{next(self._holders)}"

    def _release(self, account: Account) -> None:
        if account.stock or account.used:
            back, account.stock, account.target = account.stock, 0, 0
            self._enqueue(Need(account, back=back))

    async def _wait(self, account: Account) -> float:
        need = account.pending
        if need is None:
            need = account.pending = Need(account, ahead=account.wanted())
            loop = asyncio.get_running_loop()
            need.timer = loop.call_later(self._patience_seconds, self._give_up, need, context=Context())
            self._enqueue(need)
        future: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        need.waiters.append(future)
        return await future

    def _enqueue(self, need: Need) -> None:
        self._queue[need] = None
        if self._soon is None:  # what else comes in this turn of the loop goes with it
            self._soon = asyncio.get_running_loop().call_soon(self._send, context=Context())

    def _send(self) -> None:
        self._soon = None
        while self._queue and len(self._trips) < MAX_TRIPS:
            needs = list(islice(self._queue, ASKS_PER_TRIP))
            asks = [self._ask(need) for need in needs]
            task = asyncio.get_running_loop().create_task(self._travel(needs, asks), context=Context())
            self._trips.add(task)
            task.add_done_callback(self._back)

    def _back(self, task: asyncio.Task[None]) -> None:
        self._trips.discard(task)
        self._send()

    def _ask(self, need: Need) -> Ask:
        del self._queue[need]
        account, used = need.account, 0
        if account.pending is need:
            account.pending = None
        if need.holder == account.holder:
            used, account.used = account.used, 0
        need.expects = account.stock > 0
        waiting = sum(not waiter.done() for waiter in need.waiters)
        interval, burst = need.quota.interval_seconds, need.quota.size
        share = burst // SHARE
        return Ask(account.name, need.holder, interval, burst, share, waiting, need.ahead, used, need.back)

    async def _travel(self, needs: list[Need], asks: list[Ask]) -> None:
        sent = self._clock()
        self.round_trips += 1
        try:
            answers = await self._store.run(lambda client: self._script.run(client, asks))
        except StoreUnavailable as error:
            for need in needs:
                self._fail(need, error)
        else:
            for need, answer in zip(needs, answers, strict=True):
                self._settle(need, answer, sent)

    def _settle(self, need: Need, answer: Answer, sent: float) -> None:
        account = need.account
        if need.holder == account.holder:
            account.asking = account.asking and bool(need.waiters)
            if need.expects and not answer.known:  # the store has lost it
                account.begin(self._holder())
            else:
                account.stock += answer.more
                account.lasts_until = sent + LAPSES_SECONDS
        account.left, account.left_at = answer.left, sent
        granted = answer.granted
        for waiter in need.waiters:
            if not waiter.done():
                waiter.set_result(0.0 if granted > 0 else answer.wait_seconds)
                granted -= 1
        if answer.wait_microseconds:
            account.refused_until = sent + answer.wait_seconds
        if need.timer is not None:
            need.timer.cancel()

    def _give_up(self, need: Need) -> None:
        """End the patience of those who wait; what comes of the question is seen to when it comes."""
        self._queue.pop(need, None)
        if need.account.pending is need:
            need.account.pending = None
        self._refuse(need, "the shared store does not answer in time")

    def _fail(self, need: Need, error: StoreUnavailable) -> None:
        if need.holder == need.account.holder:
            pending = need.account.pending
            need.account.begin(self._holder())
            need.account.pending = pending
        if need.timer is not None:
            need.timer.cancel()
        self._refuse(need, str(error))

    @staticmethod
    def _refuse(need: Need, why: str) -> None:
        for waiter in need.waiters:
            if not waiter.done():
                waiter.set_exception(StoreUnavailable(why))

    def _look_later(self) -> None:
        loop = asyncio.get_running_loop()
        self._look = loop.call_later(LOOK_SECONDS, self._look_now, context=Context())

    def _look_now(self) -> None:
        self._look = None
        self.give_back()
        if self._accounts:
            self._look_later()
