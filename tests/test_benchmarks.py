"""What was measured comes out as tables, misses and all; the measurements themselves are made by `make bench`."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from benchmarks import handshake_report, policy_report, report
from benchmarks.contenders import ALL

ROUNDS = 12


def policy(cost: float = 1.0, stall: float = 5.0, growth: float = 1.0) -> dict[str, Any]:
    def by_size(*sizes: int) -> dict[str, list[float]]:
        return {str(size): [cost * (growth if size == sizes[-1] else 1)] * ROUNDS for size in sizes}

    reload = {"stall_ms": stall, "work_ms": stall / 2, "seconds": 2.0}
    return {
        "decisions": {
            name: by_size(10, 100, 1000, 10_000)
            for name in ("the same principal", "condition on the request", "a principal's first")
        },
        "engines": {
            f"{name}, {kind}": by_size(10, 10_000) for name in ("ours", "x") for kind in ("allowed", "refused")
        },
        "loading": {name: {"10": 0.01, "10000": 1.5} for name in ("ours", "x")},
        "reload": {name: [reload] * 3 for name in ("nothing", "in a process of its own", "on the loop")},
        "versions": {"pycasbin": "1.2.3"},
    }


def handshakes(ratio: float = 1.2, missing: int = 0) -> dict[str, Any]:
    calm = {"p50_ms": 2.0, "p99_ms": 10.0}
    return {
        "rounds": [{"without": calm, "with": {"p50_ms": 2.5, "p99_ms": 10.0 * ratio}}] * ROUNDS,
        "sent": {"untrusted": 2000, "not_tls": 2000},
        "counted": {"untrusted": 2000, "not_tls": 2000 - missing, **({"other": missing} if missing else {})},
        "per_second": 200.0,
        "calls_per_second": 200,
    }


def results(**made: float) -> report.Results:
    samples = {contender: [report.Sample(100.0 + number, 3000.0, 0.3)] * ROUNDS for number, contender in enumerate(ALL)}
    return report.Results(
        samples, {"Python": "3.11"}, 2.5, {"ES256": {"known, hot": 2.0}}, policy(**made), handshakes(), load_before=0.1
    )


def targets(**made: float) -> dict[str, str]:
    tables = policy_report.tables(policy(**made)).values()
    return {row[0]: row[-1] for table in tables for row in table.rows if "missed" in row[-1] or row[-1] == "met"}


def test_the_page_has_a_place_for_all_that_is_measured() -> None:
    page = report.page(results())
    assert "<<" not in page
    for shown in (
        "| ES256 | 2 |",
        "| x | 1.0 / 1.0 | 1.0 / 1.0 | 1.5 |",
        "regorus (not in the registry)",
        "pycasbin 1.2.3",
        "| p99 | 10.0 | 12.0 | 1.20 (1.20 to 1.20) | <= 2 | met |",
        "| untrusted | 2,000 | 2,000 | exactly | met |",
    ):
        assert shown in page
    lines = [line for line in page.splitlines() if line.startswith("|")]
    assert all(line.endswith("|") for line in lines)


def test_a_target_that_is_missed_says_so() -> None:
    assert set(targets().values()) == {"met"}
    slow = targets(cost=20.0)
    assert slow["the same principal"] == slow["condition on the request"] == "**missed**"
    assert "a principal's first" not in slow
    assert targets(cost=10.0)["condition on the request"] == "met"
    assert targets(stall=21.0)["in a process of its own"] == "**missed**"
    assert "on the loop" not in targets(stall=21.0)
    assert targets(growth=1.5)["the same principal: 10,000 / 10"] == "**missed**"


def test_failing_handshakes_that_slow_down_good_calls_or_are_miscounted_say_so() -> None:
    def verdicts(found: dict[str, Any]) -> dict[str, str]:
        return {row[0]: row[-1] for table in handshake_report.tables(found).values() for row in table.rows if row[-1]}

    assert set(verdicts(handshakes()).values()) == {"met"}
    assert verdicts(handshakes(ratio=2.1))["p99"] == "**missed**"
    miscounted = verdicts(handshakes(missing=1))
    assert miscounted == {"p99": "met", "untrusted": "met", "not_tls": "**missed**", "other": "**missed**"}


def test_the_terminal_shows_the_same() -> None:
    console = Console(width=160, record=True, quiet=False, file=None)
    with console.capture() as capture:
        report.show(console, results(cost=20.0))
    for shown in ("missed", "full chain", "ES256", "regorus", "in a process of its own", "untrusted"):
        assert shown in capture.get()
