"""What many replicas ask of what they share, where nobody has so many to measure: arrivals drawn at random."""

from __future__ import annotations

import math
import random
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

WINDOW_SECONDS = 1.0  # for which a replica reserves calls of a caller ahead: docs/quotas.md of a service
RESERVED_PART = 10  # of the burst, one in so many may be reserved, by all replicas together
IDLE_SECONDS = 2.0  # without a call of a caller, then what was reserved goes back
SEED = 20
SIMULATED_SECONDS = 20.0
SAMPLED_CALLERS = 400


def rates(calls_per_second: float, callers: int, skew: float) -> list[float]:
    """Return how many calls a second each caller makes: the n-th makes n ** -skew as many as the first (Zipf)."""
    weights = [(number + 1) ** -skew for number in range(callers)]
    total = sum(weights)
    return [calls_per_second * weight / total for weight in weights]


def store_asks(by_caller: Sequence[float], replicas: int, quota: int) -> tuple[float, float]:
    """Return how often a second all replicas ask the store for quotas, and how many calls are refused a second.

    A caller who is below half of the quota has calls reserved at each replica: as many as it makes there in a second, a
    tenth of the burst at the most, which all replicas share. A replica asks for more once half of them are used, and
    gives back what is left of a caller who has gone. A caller above half asks for each call, and is refused beyond the
    quota without asking.

    Args:
        by_caller: calls a second of each.
        replicas: over which each of them is spread evenly.
        quota: calls a second of each caller, and its burst.
    """
    chosen, asks, refused = random.Random(SEED), 0.0, 0.0  # noqa: S311  # nothing secret hangs on it
    near = [rate for rate in by_caller if rate > quota / 2]
    far = [rate for rate in by_caller if rate <= quota / 2]
    for rate in near:
        asks += min(rate, quota)
        refused += max(rate - quota, 0.0)
    most = quota // RESERVED_PART // replicas
    step = max(1, len(far) // SAMPLED_CALLERS)
    for rate in far[::step]:
        asks += step * replicas * _asks_of_one(chosen, rate / replicas, most)
    return asks, refused


def _asks_of_one(chosen: random.Random, rate: float, most: int) -> float:
    """Return how often a second one replica asks for one caller, who comes at random.

    Args:
        chosen: what chance says.
        rate: calls a second of the caller, here.
        most: calls that may be reserved here.
    """
    target = min(most, max(1, math.ceil(rate * WINDOW_SECONDS)))
    if rate * SIMULATED_SECONDS < 1:
        return rate * (2 if target else 1)  # each call finds nothing reserved, and what is reserved for it goes back
    now, last, stock, asks = chosen.expovariate(rate), 0.0, 0, 0
    while now < SIMULATED_SECONDS:
        if stock and now - last > IDLE_SECONDS:
            asks, stock = asks + 1, 0
        if not stock:
            asks, stock = asks + 1, target
        else:
            stock -= 1
            if 2 * stock <= target:
                asks, stock = asks + 1, target
        last, now = now, now + chosen.expovariate(rate)
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
