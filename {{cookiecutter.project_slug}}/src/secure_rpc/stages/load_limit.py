"""Before anyone is authenticated: how many calls at once, in all and from one peer, with how much metadata."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from datetime import timedelta
from itertools import chain

from secure_rpc import errors
from secure_rpc.call import Call, Method
from secure_rpc.chain import Middleware, Proceed
from secure_rpc.shedding.admission import REASONS, Admission, Refusal
from secure_rpc.shedding.delays import Delays
from secure_rpc.shedding.limit import MOST, AdaptiveLimit, LagProbe
from secure_rpc.shedding.peers import peer_of
from secure_rpc.shedding.settings import Load
from secure_rpc.telemetry.load_metrics import LoadMetrics

ENTRY_OVERHEAD_BYTES = 32  # of each entry, as HTTP/2 counts (RFC 9113, section 6.5.2)
FAIR_FLOOR = 4  # calls at once of all those who ask most often
HEALTH_SERVICE = "grpc.health.v1.Health"
PUSHBACK_KEY = "grpc-retry-pushback-ms"  # gRFC A6: when gRPC's own retries may come again


class LoadLimit:
    """Refuse calls that would be too many, before they cost anything.

    Args:
        settings: how many are too many.
        max_metadata_bytes: of one call. gRPC's own limit binds only clients that have acknowledged its settings.
        metrics: are told.
        delays: hold the refusals of peers that have more than their share; made from the settings if not given.
        chance: gives a random number below 1.
    """

    def __init__(
        self,
        settings: Load,
        max_metadata_bytes: int,
        metrics: LoadMetrics,
        *,
        delays: Delays | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings
        self._max_metadata_bytes = max_metadata_bytes
        ceiling = settings.max_concurrent_calls
        floor, fair_floor = (settings.min_concurrent_calls, FAIR_FLOOR) if settings.adaptive else (ceiling, ceiling)
        self.limit = AdaptiveLimit(floor, ceiling, settings.target_lag_seconds)
        self.fair_limit = AdaptiveLimit(fair_floor, ceiling, settings.fair_lag_seconds, MOST)
        self.admission = Admission(settings, self.limit, self.fair_limit)
        self.delays = (
            delays
            if delays is not None
            else Delays(
                settings.refusal_delay_seconds,
                settings.max_delayed_refusals,
                settings.max_delayed_refusals_per_peer,
                per_second_per_peer=settings.delayed_refusals_per_second_per_peer,
            )
        )
        self._chance = chance
        self._metrics = metrics
        self._refusals = {reason: metrics.refusals.labels(reason) for reason in REASONS}  # zeros show before the first

    def bind(self, method: Method) -> Middleware:
        """Limit every method; health checks are let in beside the limits, as long as they are few."""
        admission, delays = self.admission, self.delays

        def limit(call: Call, proceed: Proceed) -> Awaitable[None]:
            self._check_metadata(call)
            name = peer_of(call.address)
            refusal = admission.enter(call, name)
            if refusal is not None:
                return refuse(refusal, name)
            call.when_over(lambda ended: admission.leave(ended, name))
            return proceed(call)

        async def refuse(refusal: Refusal, name: str) -> None:
            self._refusals[refusal.reason].inc()
            if refusal.is_over_share:
                await delays.hold(name)
            raise self._busy(refusal.message, refusal.reason)

        def limit_health(call: Call, proceed: Proceed) -> Awaitable[None]:
            name = peer_of(call.address)
            if not admission.enter_health(name):
                return limit(call, proceed)
            call.when_over(lambda _ended: admission.leave_health(name))
            self._check_metadata(call)
            return proceed(call)

        return limit_health if method.service == HEALTH_SERVICE else limit

    async def keep(self) -> None:
        """Follow how long work waits, and have the limit follow it, until cancelled."""
        await LagProbe(self._settings.probe_interval_seconds, self.saw).keep()

    def saw(self, lag_seconds: float) -> None:
        """Take in how long work has waited; called every `probe_interval_seconds`."""
        for limit in (self.limit, self.fair_limit):
            limit.saw(lag_seconds, self.admission.working)
        self.admission.pass_turn()

    def refresh(self) -> None:
        """Bring the numbers up to date."""
        self._metrics.limit.set(self.limit.calls)
        self._metrics.fair_limit.set(self.fair_limit.calls)
        self._metrics.lag.set(self.limit.lag_seconds)
        self._metrics.delayed.set(self.delays.held)

    def _check_metadata(self, call: Call) -> None:
        metadata = call.metadata
        size = ENTRY_OVERHEAD_BYTES * len(metadata) + sum(map(len, chain.from_iterable(metadata)))
        if size > self._max_metadata_bytes:
            raise errors.ResourceExhausted(
                f"metadata may have {self._max_metadata_bytes} bytes", reason="METADATA_TOO_LARGE"
            )

    def _busy(self, message: str, reason: str) -> errors.ResourceExhausted:
        """Return a refusal that tells when to come again: each caller another time, so that not all come at once."""
        delay_ms = max(1, round(self._settings.retry_after_seconds * (0.5 + self._chance()) * 1000))
        return errors.ResourceExhausted(
            message,
            reason=reason,
            details=[errors.retry_after(timedelta(milliseconds=delay_ms))],
            trailers=((PUSHBACK_KEY, str(delay_ms)),),
        )
