"""The drills, in a hurry: what is replaced while no call fails, and what two trust domains let in of each other."""

from __future__ import annotations

import os
import sys
from collections import Counter
from pathlib import Path

import orjson

from secure_rpc.configuration import read_yaml
from secure_rpc.dev.setup import FOLDER
from secure_rpc.drills.catalogue import DRILLS
from secure_rpc.drills.plan import Plan
from secure_rpc.platform import Application
from secure_rpc.testing.service import merged

from probe.v1 import probe_pb2 as pb
from support.processes import PROBE, PROBED, SERVED, module_of
from support.target import CALLERS, POLICY, SETTINGS


def contents(folder: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in folder.iterdir()}


def plan_of(application: Application, tmp_path: Path, said: list[str]) -> Plan:
    """Return a plan in a hurry, for what is written to a folder as a developer has it."""
    for name, text in {"usual.yaml": SETTINGS, "policy.yaml": POLICY, "callers.yaml": CALLERS}.items():
        (tmp_path / name).write_text(text)
    places = {
        "tls": {
            "certificate_file": str(FOLDER / "server.pem"),
            "key_file": str(FOLDER / "server.key"),
            "client_ca_file": str(FOLDER / "ca.pem"),
        },
        "authentication": {"issuers": [{"jwks_file": str(FOLDER / "jwks.json")}]},
        "authorization": {"policy_file": str(tmp_path / "policy.yaml")},
    }
    config = tmp_path / "settings.yaml"
    config.write_bytes(orjson.dumps(merged(read_yaml(tmp_path / "usual.yaml").data, places)))
    services = pb.DESCRIPTOR.services_by_name
    methods = [method for service in services.values() for method in service.methods]
    return Plan(
        module=PROBE,
        config=config,
        callers=tmp_path / "callers.yaml",
        caller="alice",
        methods=[
            services["SteadyService"].methods_by_name["Get"],
            services["ProbeService"].methods_by_name["Bidi"],
            services["ProbeService"].methods_by_name["ServerStream"],
        ],
        data="{}",
        every_method=methods,
        rate=50,
        step_seconds=0.1,
        channels=2,
        say=said.append,
        environment={
            "PYTHONPATH": os.pathsep.join(sys.path),
            PROBED: module_of(application),
            SERVED: "support.drilled_application",
        },
    )


async def test_certificates_ca_policy_and_workers_are_replaced_under_load_and_no_call_fails(
    application: Application, tmp_path: Path
) -> None:
    said: list[str] = []
    plan = plan_of(application, tmp_path, said)
    theirs = contents(tmp_path)
    outcome = await DRILLS["rotation"].run(plan)
    assert outcome.problems == []
    steps = {step["step"]: step for step in outcome.data["steps"]}
    assert list(steps) == said[1:]
    assert all(step["calls"] > 0 and step["failed"] == {} for step in steps.values())
    streams = {name: (step["streams_before"], step["streams_after"]) for name, step in steps.items()}
    remove, roll = streams.pop("CA: remove"), streams.pop("roll of the workers")
    assert set(streams.values()) == {(2, 2)}, "the stream that ends by itself is not among them"
    assert (remove, roll) == ((4, 2), (2, 0))
    assert steps["CA: remove"]["streams_ended"] == {"UNAUTHENTICATED CERTIFICATE_UNTRUSTED": 2}
    [ended] = steps["roll of the workers"]["streams_ended"]
    assert ended.startswith("UNAVAILABLE")
    assert contents(tmp_path) == theirs


async def test_two_trust_domains_become_partners_and_neither_can_speak_for_the_other(
    application: Application, tmp_path: Path
) -> None:
    said: list[str] = []
    plan = plan_of(application, tmp_path, said)
    theirs = contents(tmp_path)
    outcome = await DRILLS["federation"].run(plan)
    assert outcome.problems == []
    answers = Counter((each["chapter"], each["answer"]) for each in outcome.data["calls"])
    assert answers == {
        ("strangers", "served"): 2,
        ("strangers", "no connection"): 2,
        ("strangers", "UNAUTHENTICATED TOKEN_ISSUER_UNKNOWN"): 2,
        ("partners", "served"): 4,
        ("partners", "PERMISSION_DENIED PERMISSION_MISSING"): 2,
        ("partners", "UNAUTHENTICATED TOKEN_INVALID"): 4,
        ("forgeries", "UNAUTHENTICATED TRUST_DOMAIN_UNKNOWN"): 2,
        ("forgeries", "UNAUTHENTICATED TOKEN_KEY_UNKNOWN"): 2,
        ("forgeries", "no connection"): 2,
        ("rotation", "served"): 5,
        ("rotation", "no connection"): 2,
    }
    assert len(said) == sum(answers.values()) + 4
    assert contents(tmp_path) == theirs
