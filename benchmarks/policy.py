"""What a decision about a call costs: by our engine, by other engines, and what calls feel of a new policy.

Run by the service's own Python, as a module, from the folder above; prints JSON. Costs are CPU time of the thread, in
microseconds. In each round everything is measured once, so that what disturbs the machine disturbs all alike.
"""

from __future__ import annotations

import argparse
import functools
import gc
import importlib
import importlib.metadata
import itertools
import json
import statistics
import sys
import time
from typing import TYPE_CHECKING, Any

import uvloop
from secure_rpc.policy.conditions import Conditions
from secure_rpc.policy.engine import Engine

from benchmarks import policy_reload
from benchmarks.identity import pollute
from benchmarks.policies import CONDITIONS, ON_PRINCIPAL, ON_REQUEST, PERMISSIONS, TENANT, MadePolicy, asking, caller
from benchmarks.policy_engines import ENGINES, Ask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from benchmarks.policy_engines import Loaded

SIZES = (10, 100, 1000, 10_000)  # bindings
COMPARED_SIZES = (10, 1000, 10_000)
HOT_CALLS = 1000
COLD_CALLS = 5  # of each round
COMPARED_CALLS = 100  # allowed ones, and as many that are refused
CHECKED_CALLS = 500  # of each kind
PACKAGES = ("cel-expr-python", "pycasbin", "cedarpy")

Costs = dict[str, dict[str, list[float]]]  # by what was decided or by whom, and size: of each round


def hot(asks: Sequence[Ask]) -> float:
    """Return what one of them costs, asked one right after the other."""
    started = time.thread_time_ns()
    for ask in asks:
        ask()
    return (time.thread_time_ns() - started) / len(asks) / 1000


def cold(asks: Sequence[Ask]) -> float:
    """Return what one of them costs after other memory went through the caches, without what the clock itself costs."""

    def alone(ask: Ask) -> float:
        pollute()
        started = time.thread_time_ns()
        ask()
        return (time.thread_time_ns() - started) / 1000

    return statistics.median(map(alone, asks)) - statistics.median(alone(_nothing) for _ in asks)


def _nothing() -> None:
    pass


class Decisions:
    """The decisions of our engine, with a policy of some size.

    Args:
        size: how many bindings the policy has, beside two with conditions.
    """

    def __init__(self, size: int) -> None:
        """Make the policy and all that is asked of it, and check the answers."""
        self._made = MadePolicy.of(size)
        messages = importlib.import_module("order_service.v1.order_pb2")
        get = messages.DESCRIPTOR.services_by_name["OrderService"].methods_by_name["GetOrder"]
        user, role = self._made.bindings[size // 2]
        self._method = asking(self._made.roles[role][-1], get)
        under_condition = asking(self._made.roles["role-0"][-1], get)
        conditions = Conditions([self._method, under_condition])
        self._engine = Engine.of(self._made.document(CONDITIONS), conditions)
        self._tokens = itertools.count(1)

        def ask(*arguments: Any) -> Ask:  # noqa: ANN401  # as `decide` has them
            return functools.partial(self._engine.decide, *arguments)

        same = ask(caller(user), self._method)
        methods = {permission: asking(permission) for permission in PERMISSIONS}
        many = [ask(caller(name, next(self._tokens)), methods[it]) for name, it in self._made.allowed(HOT_CALLS)]
        refused = [ask(caller(name, next(self._tokens)), methods[it]) for name, it in self._made.refused(HOT_CALLS)]
        on_principal = ask(caller(ON_PRINCIPAL), under_condition)
        request = messages.GetOrderRequest(tenant=TENANT, id="0123456789abcdef")
        on_request = ask(caller(ON_REQUEST), under_condition, (), request)
        by_condition = ask(caller(ON_REQUEST), under_condition, (), messages.GetOrderRequest(tenant="globex", id="1"))
        for one, expected in [*((one, True) for one in (same, *many, on_principal, on_request)), (by_condition, False)]:
            _check(one().allowed is expected, "our engine")
        _check(not any(one().allowed for one in refused), "our engine")
        self.costs: dict[str, Callable[[], float]] = {
            "the same principal": lambda: hot([same] * HOT_CALLS),
            "one of 1,000 principals": lambda: hot(many),
            "refused, one of 1,000 principals": lambda: hot(refused),
            "cold": lambda: cold(many[:COLD_CALLS]),
            "condition on the principal": lambda: hot([on_principal] * HOT_CALLS),
            "condition on the request": lambda: hot([on_request] * HOT_CALLS),
            "refused by a condition on the request": lambda: hot([by_condition] * HOT_CALLS),
            "condition on the principal, cold": lambda: cold([on_principal] * COLD_CALLS),
            "condition on the request, cold": lambda: cold([on_request] * COLD_CALLS),
            "a principal's first": lambda: hot(list(self._first())),
        }

    def _first(self) -> Iterator[Ask]:
        """Yield decisions about principals that were not seen before."""
        for user, _ in self._made.allowed(HOT_CALLS):
            yield functools.partial(self._engine.decide, caller(user, next(self._tokens)), self._method)


class Comparison:
    """One policy in all engines, checked to decide alike.

    Args:
        size: how many bindings it has.
    """

    def __init__(self, size: int) -> None:
        """Load the policy everywhere, and check the answers."""
        made = MadePolicy.of(size)
        self.load_seconds: dict[str, float] = {}
        self.costs: dict[str, Callable[[], float]] = {}
        for name, load in ENGINES.items():
            started = time.thread_time()
            engine = load(made)
            self.load_seconds[name] = time.thread_time() - started
            for kind, pairs, expected in (
                ("allowed", made.allowed(CHECKED_CALLS), True),
                ("refused", made.refused(CHECKED_CALLS), False),
            ):
                asks = self._checked(name, engine, pairs, expected=expected)
                self.costs[f"{name}, {kind}"] = functools.partial(hot, asks)

    @staticmethod
    def _checked(name: str, engine: Loaded, pairs: list[tuple[str, str]], *, expected: bool) -> list[Ask]:
        asks = [engine.question(user, permission) for user, permission in pairs]
        _check(all(engine.allowed(ask()) is expected for ask in asks), name)
        return asks[:COMPARED_CALLS]


def _check(right: bool, name: str) -> None:  # noqa: FBT001
    if not right:
        sys.exit(f"{name} decides otherwise than the policy says")


def measured(works: dict[int, dict[str, Callable[[], float]]], rounds: int) -> Costs:
    """Return what each work costs with each size, round by round."""
    found: Costs = {name: {str(size): [] for size in works} for name in next(iter(works.values()))}
    for number in range(rounds + 1):
        for size, costs in works.items():
            for name, cost in costs.items():
                microseconds = cost()
                if number:  # the first round warms up
                    found[name][str(size)].append(microseconds)
    return found


def main() -> None:
    """Measure, print JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--reloads", type=int, default=7, help="a reload takes seconds")
    arguments = parser.parse_args()
    results: dict[str, Any] = {"reload": uvloop.run(policy_reload.measure(arguments.reloads))}  # in a memory of its own
    gc.collect()
    compared = {size: Comparison(size) for size in COMPARED_SIZES}
    decisions = {size: Decisions(size) for size in SIZES}
    gc.collect()
    gc.freeze()  # as a server does before it serves
    results["engines"] = measured({size: each.costs for size, each in compared.items()}, arguments.rounds)
    results["loading"] = {
        name: {str(size): each.load_seconds[name] for size, each in compared.items()} for name in ENGINES
    }
    results["decisions"] = measured({size: each.costs for size, each in decisions.items()}, arguments.rounds)
    results["versions"] = {name: importlib.metadata.version(name) for name in PACKAGES}
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
