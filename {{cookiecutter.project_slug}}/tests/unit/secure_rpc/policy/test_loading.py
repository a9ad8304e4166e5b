"""A policy taken up beside calls is the policy that is read at the start, whatever its size."""

from __future__ import annotations

import sys
from pathlib import Path

import orjson
import pytest
import yaml

from secure_rpc.call import Principal
from secure_rpc.configuration import ConfigurationError
from secure_rpc.policy import loading
from secure_rpc.policy.conditions import Conditions
from secure_rpc.policy.document import Known, load
from secure_rpc.policy.engine import Engine
from secure_rpc.policy.entries import Entry, entries_of, from_plain, to_plain
from secure_rpc.policy.loading import PolicyText, check_conditions, load_beside

from support.policies import asking

ISSUER = "https://issuer.example.org"
KNOWN = Known({"things.read", "things.write"}, [ISSUER], ["example.org"])
READ = asking("things.read")
POLICY = {
    "version": 1,
    "roles": {"reader": {"permissions": ["things.read"]}, "writer": {"includes": ["reader"]}},
    "bindings": [
        {"role": "reader", "principals": [{"workload": "spiffe://example.org/ns/*"}], "tenants": ["a", "b"]},
        {
            "name": "auditors",
            "role": "writer",
            "principals": [{"issuer": ISSUER, "group": "g", "workload": "spiffe://example.org/x"}],
            "tenants": "all",
            "condition": "principal.subject != ''",
            "expires": "2040-01-01",
        },
    ],
}


QUOTAS = {"default": {"calls": 5}, "bulk": {"calls": 1, "period_seconds": 2.5, "burst": 3}}


def write(folder: Path, data: object, name: str = "policy.yaml") -> PolicyText:
    (folder / name).write_text(yaml.dump(data, Dumper=yaml.CSafeDumper), encoding="utf-8")
    return PolicyText.of(folder / name)


def read_here(path: Path) -> None:
    document = load(path)
    document.check(KNOWN)
    check_conditions(document, Conditions([READ]))


def test_entries_survive_the_way_through_json(tmp_path: Path) -> None:
    entries = list(entries_of(load(write(tmp_path, POLICY).path)))
    assert len(entries) == 2
    permissions = {"reader": frozenset({"things.read"}), "writer": frozenset({"things.read"})}
    there = orjson.loads(orjson.dumps(to_plain(entries)))
    found = from_plain(there, permissions, {})
    assert found == entries
    assert all(isinstance(entry, Entry) for entry in found)


async def test_what_comes_from_the_child_decides_as_what_is_read_here(tmp_path: Path) -> None:
    bindings = [
        {"role": "reader", "principals": [{"issuer": ISSUER, "subject": f"user-{number}"}], "tenants": [f"t{number}"]}
        for number in range(1000)
    ]
    text = write(tmp_path, {**POLICY, "bindings": [*POLICY["bindings"], *bindings]})  # type: ignore[misc]
    engine, changes = await load_beside(text, KNOWN, Conditions())
    here = Engine.of(load(text.path))
    assert (engine.version, changes) == (here.version, [])
    for name in ("user-0", "user-999", "user-1000", ""):
        who = Principal("spiffe://example.org/x", ISSUER if name else "", name, groups=frozenset({"g"} if name else ()))
        assert engine.decide(who, READ) == here.decide(who, READ)


async def test_quotas_come_from_the_child_as_they_are_read_here(tmp_path: Path) -> None:
    roles = {"reader": {"permissions": ["things.read"], "quotas": QUOTAS}, "writer": {"includes": ["reader"]}}
    text = write(tmp_path, {**POLICY, "roles": roles})
    engine, _ = await load_beside(text, KNOWN._replace(quota_classes=["default", "bulk"]), Conditions())
    who = Principal("spiffe://example.org/ns/a")
    found = engine.decide(who, READ).quotas
    assert found == Engine.of(load(text.path)).decide(who, READ).quotas
    assert (found["default"].calls, found["bulk"].period_seconds, found["bulk"].burst) == (5, 2.5, 3)


async def test_the_changes_are_told_up_to_a_limit(tmp_path: Path) -> None:
    def bound(count: int) -> dict[str, object]:
        who = [{"issuer": ISSUER, "subject": f"user-{number:03}"} for number in range(count)]
        return {**POLICY, "bindings": [{"role": "reader", "principals": who}]}

    before, after = write(tmp_path, bound(1), "before.yaml"), write(tmp_path, bound(300))
    _, changes = await load_beside(after, KNOWN, Conditions(), before)
    assert changes[0] == f"user user-001 of {ISSUER} gains things.read for their own tenants"
    assert len(changes) == 101
    assert changes[-1] == "and 199 more"


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({"version": 2, "roles": {}}, "policy.yaml:2"),
        ({"version": 1, "roles": {"a": {"permissions": ["things.raed"]}}}, 'did you mean "things.read"?'),
        ({**POLICY, "bindings": [{"role": "redaer", "principals": [{"issuer": ISSUER, "group": "g"}]}]}, '"reader"?'),
        (
            {
                **POLICY,
                "bindings": [
                    {"role": "reader", "principals": [{"issuer": ISSUER, "group": "g"}], "condition": "principal.x"}
                ],
            },
            "policy.yaml:2: undefined field 'x'",
        ),
    ],
)
async def test_what_is_wrong_is_told_as_at_the_start(tmp_path: Path, data: object, told: str) -> None:
    text = write(tmp_path, data)
    with pytest.raises(ConfigurationError, match="policy") as beside:
        await load_beside(text, KNOWN, Conditions([READ]))
    assert told in str(beside.value)
    with pytest.raises(ConfigurationError) as here:
        read_here(text.path)
    assert str(here.value).partition(": ")[2] == str(beside.value).partition(": ")[2]


@pytest.mark.parametrize("executable", ["/bin/false", "/nowhere"])
async def test_a_child_that_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, executable: str) -> None:
    monkeypatch.setattr(sys, "executable", executable)
    with pytest.raises(ConfigurationError, match="the policy could not be read"):
        await load_beside(write(tmp_path, POLICY), KNOWN, Conditions())


async def test_a_child_that_takes_too_long_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "CHILD_SECONDS", 0.01)
    with pytest.raises(ConfigurationError, match="timed out"):
        await load_beside(write(tmp_path, POLICY), KNOWN, Conditions())
