"""What was measured comes out as tables, misses and all; the measurements themselves are made by `make bench`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest

from benchmarks import handshake_report, page, results
from benchmarks.measurement import console
from benchmarks.measurements import latency, parts
from benchmarks.measurements import profile as measured
from benchmarks.registry import ALL, BY_NAME
from benchmarks.workspace import HERE
from tests.measured import (
    CONDITIONS,
    handshakes,
    kept,
    kinds,
    latencies,
    memory,
    methods,
    policy,
    profile,
    quota,
    refused,
    rotation,
    servers,
    start,
)
from tools.bake import ROOT

if TYPE_CHECKING:
    from pathlib import Path


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


def test_the_page_says_what_was_measured_on_which_machine_where_there_are_several() -> None:
    found = kept()
    assert "\nA machine; client and server share it." in page.page(found)
    *_, name = found
    another = {**found[name], "conditions": {**found[name]["conditions"], "machine": "Another"}}
    told = page.page({**found, name: another})
    assert f"; Another ({name}); client and server share it." in told
    assert f"\nA machine ({next(iter(found))}, " in told


def test_the_flame_picture_shows_each_function_as_wide_as_its_share() -> None:
    found = ET.fromstring(measured.picture(profile()))  # noqa: S314  # our own
    boxes = {
        group[0].text: (float(group[1].get("x", "")), float(group[1].get("width", "")), group[1].get("class"))
        for group in found.iter("{http://www.w3.org/2000/svg}g")
    }
    outer = "Chain.answering.<locals>.answer (secure_rpc/chain.py)"
    assert boxes["the event loop: 100.0%"] == (0, 999.5, "library")
    assert boxes[f"{outer}: 35.0%"] == (0, 349.5, "ours")
    assert boxes["Carrier.finish (secure_rpc/carrying.py): 30.0%"] == (0, 299.5, "ours")
    assert boxes["dumps (orjson/__init__.py): 25.0%"] == (350, 249.5, "library")


def test_parts_of_a_call_are_named_by_functions_that_there_are() -> None:
    source = ROOT / "{{cookiecutter.project_slug}}" / "src"
    for begin in measured.PARTS:
        function, _, file = begin.rpartition("(")
        if not file.startswith("order_service/"):
            assert (source / file).exists(), begin
            assert f"def {function.strip().rpartition('.')[2]}" in (source / file).read_text() if function else True


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
        {"quota": quota(later=1)},
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
