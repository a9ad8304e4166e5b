"""The drill of the life cycle, in a hurry: all that it replaces, and no call fails."""

from __future__ import annotations

import os
import sys
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


async def test_certificates_ca_policy_and_workers_are_replaced_under_load_and_no_call_fails(
    application: Application, tmp_path: Path
) -> None:
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
    theirs = contents(tmp_path)
    said: list[str] = []
    outcome = await DRILLS["rotation"].run(
        Plan(
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
    )
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
