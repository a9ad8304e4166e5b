"""What many replicas ask of what they share, where nobody has so many to measure: arrivals drawn at random."""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

WINDOW_SECONDS = 1.0  # for which a replica reserves calls of a caller ahead: docs/quotas.md of a service
IDLE_SECONDS = 2.0  # without a call of a caller, then what was reserved goes back
SEED = 20
SIMULATED_SECONDS = 20.0
SAMPLED_CALLERS = 400


def rates(calls_per_second: float, callers: int, skew: float) -> list[float]:
    """Return how many calls a second each caller makes: the n-th makes n ** -skew as many as the first (Zipf)."""
    weights = [(number + 1) ** -skew for number in range(callers)]
    total = sum(weights)
    return [calls_per_second * weight / total for weight in weights]


def store_asks(by_caller: Sequence[float], replicas: int, quota: float) -> tuple[float, float]:
    """Return how often a second all replicas ask the store for quotas, and how many calls are refused a second.

    A caller who is below half of the quota has calls reserved at each replica, which asks once in a window in which it
    calls, and once more to give back what it has not used. One above asks for each call, and is refused beyond the
    quota without asking.

    Args:
        by_caller: calls a second of each.
        replicas: over which each of them is spread evenly.
        quota: calls a second of each caller.
    """
    chosen, asks, refused = random.Random(SEED), 0.0, 0.0  # noqa: S311  # nothing secret hangs on it
    near = [rate for rate in by_caller if rate > quota / 2]
    far = [rate for rate in by_caller if rate <= quota / 2]
    for rate in near:
        asks += min(rate, quota)
        refused += max(rate - quota, 0.0)
    step = max(1, len(far) // SAMPLED_CALLERS)
    for rate in far[::step]:
        asks += step * replicas * _asks_of_one(chosen, rate / replicas)
    return asks, refused


def _asks_of_one(chosen: random.Random, rate: float) -> float:
    """Return how often a second one replica asks for one caller, who comes at random."""
    if rate * SIMULATED_SECONDS < 1:
        return 2 * rate  # each call finds nothing reserved, and what is reserved for it goes back
    now, reserved_until, last, asks = chosen.expovariate(rate), 0.0, None, 0
    while now < SIMULATED_SECONDS:
        if last is not None and now - last > IDLE_SECONDS:
            asks += 1
            reserved_until = 0.0
        if now >= reserved_until:
            asks += 1
            reserved_until = now + WINDOW_SECONDS
        last = now
        now += chosen.expovariate(rate)
    return asks / SIMULATED_SECONDS


def busiest_second(processes: int, period_seconds: float) -> int:
    """Return how many of them fetch in the busiest second, each once in a period since it was started at random."""
    chosen = random.Random(SEED)  # noqa: S311  # nothing secret hangs on it
    fetched = Counter(int(chosen.uniform(0, period_seconds)) for _ in range(processes))
    return max(fetched.values(), default=0)


def busiest_second_of_new_key(processes: int, new_tokens_per_second: float) -> int:
    """Return how many fetch in the busiest second after the issuer has begun to sign by a key that nobody knows.

    Args:
        processes: that each fetch when they first see it.
        new_tokens_per_second: signed by it, and seen by each of them.
    """
    chosen = random.Random(SEED)  # noqa: S311  # nothing secret hangs on it
    fetched = Counter(int(chosen.expovariate(new_tokens_per_second)) for _ in range(processes))
    return max(fetched.values(), default=0)
