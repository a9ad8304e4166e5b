"""What was measured comes out as tables, misses and all; the measurements themselves are made by `make bench`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest

from benchmarks import check, handshake_report, page, results
from benchmarks.contenders import ALL as CONTENDERS
from benchmarks.figures import Estimate
from benchmarks.measurement import console
from benchmarks.measurements import latency, parts
from benchmarks.measurements import profile as measured
from benchmarks.measurements.peers import ALL as PEERS
from benchmarks.registry import ALL, BY_NAME
from benchmarks.workspace import HERE, FailedError

if TYPE_CHECKING:
    from pathlib import Path

ROUNDS = 12
CONDITIONS = {"made": "2026-01-02", "machine": "A machine", "versions": {"Python": "3.11"}, "load_before": 0.1}


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


def samples(**cpu_us: float) -> dict[str, list[dict[str, float]]]:
    same = {"calls_per_second": 3000.0, "client_share": 0.3, "memory_bytes": 9e7}
    return {name: [{"cpu_us": cost, **same}] * ROUNDS for name, cost in cpu_us.items()}


def servers(ours: float = 90.0) -> dict[str, Any]:
    cost = {contender.name: 100.0 for contender in CONTENDERS} | {"full chain": ours, "textbook": 300.0}
    return {"samples": samples(**cost), "seconds": 2.5}


def refused(cost: float = 110.0) -> dict[str, Any]:
    return {"samples": samples(**{"bare": 100.0, "allowed": 90.0, "no token": 50.0, "another tenant": cost})}


def methods(secured: float = 150.0) -> dict[str, Any]:
    cost = {"bare, 5": 100.0, "bare, 105": 130.0, "bare, 500": 200.0}
    cost |= {"secured, 5": 100.0, "secured, 105": 100.0, "secured, 500": secured}
    return {"samples": samples(**cost)}


def kinds(beyond: float = 2.0) -> dict[str, Any]:
    each = {"bare": [50.0] * ROUNDS, "kernel": [51.0] * ROUNDS, "full chain": [50.0 + beyond] * ROUNDS}
    us = {kind: dict(each) for kind in ("unary", "client_stream", "server_stream", "bidi_stream")}
    return {"messages": 4000, "us": us}


def latencies(p99: float = 5.0) -> dict[str, Any]:
    def taken(longest: float) -> list[dict[str, float]]:
        return [{"p50_ms": 1.0, "p90_ms": 2.0, "p99_ms": longest, "max_ms": 20.0}] * ROUNDS

    full = {"bare": 3000.0, "full chain": 2800.0}
    return {"calls_per_second": 1400, "full": full, "samples": {"bare": taken(5.0), "full chain": taken(p99)}}


def memory(rest: float = 90e6, last: float = 120e6) -> dict[str, Any]:
    return {
        "rest_bytes": rest,
        "passing": {"principals": {"count": 200_000, "bytes": [rest, *[120e6] * 9, last], "cpu_us": 400.0}},
    }


def peers() -> dict[str, Any]:
    taken = [{"p50_ms": 1.0, "p90_ms": 2.0, "p99_ms": 5.0, "max_ms": 20.0}] * ROUNDS
    names = [contender.name for contender in PEERS]
    latencies = {name: [] if name == "sync" else taken for name in names}
    return {"samples": samples(**dict.fromkeys(names, 100.0)), "latencies": latencies, "calls_per_second": 400}


def quota(served: int = 2200, round_trips: int = 900) -> dict[str, Any]:
    greedy = {"ended": {"OK": served, "RESOURCE_EXHAUSTED": 1000}, "seconds": 10.0, "round_trips": round_trips}
    modest = {"ended": {"OK": 400}, "seconds": 10.0, "round_trips": 200}
    return {"replicas": 4, "calls": 200, "burst": 200, "callers": {"greedy": greedy, "modest": modest}}


def rotation(failed: int = 0, longest: float = 0.5, problems: int = 0) -> dict[str, Any]:
    steps = [{"step": "new certificates", "calls": 600, "failed": {"UNAVAILABLE": failed} if failed else {}}]
    return {"steps": steps, "problems": ["a stream ended"] * problems, "revocation_seconds": [0.3, longest]}


def start(files: float = 1.0, setup: float = 30.0) -> dict[str, Any]:
    return {"files_seconds": [files] * 3, "parts_seconds": {"make setup": setup, "start of the server": 3.0}}


def profile() -> dict[str, Any]:
    """Return 100 samples of the thread that serves: a quarter of them of the writer of audit records."""
    outer = ["Chain.answering.<locals>.answer (secure_rpc/chain.py)", "Batch._take (secure_rpc/batching.py)"]
    return {
        "threads": {"serves: the event loop": 200.0, "all others": 50.0},
        "stacks": [
            [[], 40],
            [[outer[0]], 5],
            [[outer[0], "_finish (secure_rpc/serving.py)"], 30],
            [[outer[1], "ChainLog._encode (secure_rpc/audit/chain_log.py)", "dumps (orjson/__init__.py)"], 25],
        ],
    }


MADE: dict[str, Any] = {
    "profile": profile,
    "peers": peers,
    "quota": quota,
    "rotation": rotation,
    "start": start,
    "workers": lambda: {"samples": samples(**{"1 workers": 100.0, "2 workers": 110.0}), "cores": 2},
    "principals": lambda: {"calls": 5000, "us": {"1": [100.0] * ROUNDS, "200000": [150.0] * ROUNDS}},
    "footprint": lambda: {
        "audit_bytes_per_call": 400.0,
        "log_bytes_per_call": 5.0,
        "series": 300,
        "series_of_a_method": 20,
    },
    "servers": servers,
    "refused": refused,
    "methods": methods,
    "kinds": kinds,
    "latency": latencies,
    "memory": memory,
    "policy": policy,
    "handshakes": handshakes,
    "identity": lambda: {"ES256": {"known, hot": 2.0}},
}


def kept(**over: Any) -> dict[str, Any]:
    made = {name: {"conditions": CONDITIONS, "results": make()} for name, make in MADE.items()}
    return made | {name: {"conditions": CONDITIONS, "results": found} for name, found in over.items()}


def verdicts(**over: Any) -> dict[str, bool]:
    return {target.what: target.met for target in page.targets(kept(**over))}


def test_the_page_has_a_place_for_all_that_is_measured() -> None:
    made = page.page(kept())
    assert "<<" not in made
    for shown in (
        "| ES256 | 2 |",
        "| serves: the event loop | 200.0 | 80% |",
        "| event loop, and gRPC's events on it | 80.0 | 40% |",
        "| gRPC: the reply is encrypted and sent | 60.0 | 30% |",
        "| audit | 50.0 | 25% |",
        "| the chain | 10.0 | 5% |",
        "(100\nsamples)",
        "| x | 1.0 / 1.0 | 1.0 / 1.0 | 1.5 |",
        "regorus (not in the registry)",
        "pycasbin 1.2.3",
        "| p99 | 10.0 | 12.0 | 1.20 (1.20 to 1.20) | <= 2 | met |",
        "| untrusted | 2,000 | 2,000 | exactly | met |",
        "| sync | 100 | 1.00 (1.00 to 1.00) | 3,000 | 1.00 (1.00 to 1.00) | 90 | - | - |",
        "| greedy | 3,200 | 2,200 | 2,200 | 0.281 |",
        "| revocation to last byte | 400 | 500 | 2 |",
        "| 2 workers | 3,000 |",
        "| 200,000 | 150 | 1.50 (1.50 to 1.50) |",
        "Not measured yet: ",
        "Measured 2026-01-02;",
    ):
        assert shown in made
    lines = [line for line in made.splitlines() if line.startswith("|")]
    assert all(line.endswith("|") for line in lines)


def test_the_flame_picture_shows_each_function_as_wide_as_its_share() -> None:
    found = ET.fromstring(measured.picture(profile()))  # noqa: S314  # our own
    boxes = {
        group[0].text: (float(group[1].get("x", "")), float(group[1].get("width", "")), group[1].get("class"))
        for group in found.iter("{http://www.w3.org/2000/svg}g")
    }
    outer = "Chain.answering.<locals>.answer (secure_rpc/chain.py)"
    assert boxes["the event loop: 100.0%"] == (0, 999.5, "library")
    assert boxes[f"{outer}: 35.0%"] == (0, 349.5, "ours")
    assert boxes["_finish (secure_rpc/serving.py): 30.0%"] == (0, 299.5, "ours")
    assert boxes["dumps (orjson/__init__.py): 25.0%"] == (350, 249.5, "library")


def test_what_the_sampler_writes_is_read(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.write_text(
        "thread (7): MainThread;main (a.py:1);Runner.run (asyncio/runners.py:118);answer (secure_rpc/chain.py:1) 2\n"
        "thread (7): MainThread;main (a.py:1);Runner.run (asyncio/runners.py:118);answer (secure_rpc/chain.py:9) 3\n"
        "thread (7): MainThread 1\n"
        "thread (8): audit_0;_worker (concurrent/futures/thread.py:83) 4\n",
        encoding="utf-8",
    )
    names, stacks = measured.read(raw)
    assert names == {7: "MainThread", 8: "audit_0"}
    assert stacks == [[["answer (secure_rpc/chain.py)"], 5], [[], 1]]


def test_each_measurement_has_a_section_and_a_name_of_its_own() -> None:
    texts = {file.stem for file in (HERE / "pages").glob("*.md")}
    assert texts == {measurement.name for measurement in ALL} | {"_head", "_tail"}
    assert len(BY_NAME) == len(ALL)


def test_targets_are_met_or_missed_by_what_was_measured() -> None:
    assert [what for what, met in verdicts().items() if not met] == ["calls/s, full chain / bare"]
    for over in (
        {"servers": servers(ours=101.0)},
        {"refused": refused(cost=126.0)},
        {"methods": methods(secured=201.0)},
        {"kinds": kinds(beyond=7.0)},
        {"latency": latencies(p99=6.6)},
        {"memory": memory(rest=101e6)},
        {"memory": memory(last=131e6)},
        {"policy": policy(stall=21.0)},
        {"policy": policy(growth=1.5)},
        {"quota": quota(served=2401)},
        {"quota": quota(round_trips=3300)},
        {"rotation": rotation(failed=1)},
        {"rotation": rotation(longest=1.1)},
        {"rotation": rotation(problems=1)},
        {"start": start(files=2.5)},
        {"start": start(setup=88.0)},
    ):
        assert sum(not met for met in verdicts(**over).values()) > 1, over
    assert "**missed**" in page.page(kept(servers=servers(ours=101.0)))


def test_a_message_both_ways_may_cost_twice_as_much() -> None:
    found = verdicts(kinds=kinds(beyond=5.0))
    assert found["us a message beyond bare, bidi_stream"]
    assert not found["us a message beyond bare, client_stream"]


def test_failing_handshakes_that_slow_down_good_calls_or_are_miscounted_say_so() -> None:
    def told(found: dict[str, Any]) -> dict[str, str]:
        return {row[0]: row[-1] for table in handshake_report.tables(found).values() for row in table.rows if row[-1]}

    assert set(told(handshakes()).values()) == {"met"}
    assert told(handshakes(ratio=2.1))["p99"] == "**missed**"
    miscounted = told(handshakes(missing=1))
    assert miscounted == {"p99": "met", "untrusted": "met", "not_tls": "**missed**", "other": "**missed**"}


def test_the_terminal_shows_the_same() -> None:
    with console.capture() as capture:
        BY_NAME["servers"].show(servers(ours=101.0))
        parts.POLICY.show(policy(cost=20.0))
    for shown in ("missed", "full chain", "regorus", "in a process of its own"):
        assert shown in capture.get()


def test_what_is_kept_is_what_was_measured(tmp_path: Path) -> None:
    results.keep("identity", {"ES256": {"known, hot": 2.0 / 3}}, CONDITIONS, tmp_path)
    found = results.load(tmp_path)
    assert found["identity"]["results"]["ES256"]["known, hot"] == pytest.approx(2 / 3)
    assert found["identity"]["conditions"] == CONDITIONS


def test_latencies_are_those_of_the_calls_after_the_first(tmp_path: Path) -> None:
    log = tmp_path / "log"
    lines = [f"{start}\t200\t{9000 if start < 20 else 1000}\n" for start in range(100)]
    log.write_text("".join(reversed(lines)))
    assert latency.percentiles(log) == {"p50_ms": 1.0, "p90_ms": 1.0, "p99_ms": 1.0, "max_ms": 1.0}


def around(median: float, width: float = 0.02) -> Estimate:
    return Estimate(median, median - width, median + width, 0.96)


@pytest.mark.parametrize(
    ("now", "verdict", "code"),
    [
        (around(1.0), check.SAME, 0),
        (around(1.035), check.SAME, 0),  # the intervals overlap
        (around(1.02, 0.001), check.SAME, 0),  # sure, and of no concern
        (around(1.1), check.DEARER, 1),
        (around(1.1, 0.2), check.SAME, 0),  # too noisy to tell
        (around(0.9), check.CHEAPER, 0),
        (None, check.GONE, 1),
    ],
)
def test_a_ratio_has_moved_if_it_did_so_by_more_than_the_noise(now: Estimate | None, verdict: str, code: int) -> None:
    findings = check.compare({"x": around(1.0)}, {"x": now} if now else {})
    assert [finding.verdict for finding in findings] == [verdict]
    assert check.exit_code(findings) == code
    assert findings[0].row()[0] == "x"


def test_a_ratio_that_the_baseline_does_not_have_is_told_and_no_failure() -> None:
    findings = check.compare({"x": around(1.0)}, {"x": around(1.0), "y": around(9.0)})
    assert {finding.name: finding.verdict for finding in findings} == {"x": check.SAME, "y": check.NEW}
    assert check.exit_code(findings) == 0


def test_a_baseline_is_read_as_it_was_kept(tmp_path: Path) -> None:
    file = tmp_path / "baseline.json"
    check.write({"x": around(1.0)}, CONDITIONS, file)
    assert check.read(file) == {"x": around(1.0)}


def test_the_baseline_can_be_what_is_published() -> None:
    ratios, conditions = check.published(kept())
    assert ratios["CPU, full chain / bare"].median == pytest.approx(0.9)
    assert conditions == CONDITIONS
    with pytest.raises(FailedError, match="nothing of: servers"):
        check.published({name: found for name, found in kept().items() if name != "servers"})


def test_what_is_checked_gives_ratios() -> None:
    checked = [measurement for measurement in ALL if measurement.in_check]
    assert {measurement.name for measurement in checked} == {"servers", "refused", "policy"}
    for measurement in checked:
        found = measurement.ratios(MADE[measurement.name]())
        assert found
        assert all(ratio.low <= ratio.median <= ratio.high for ratio in found.values())
