"""Load on a real server: what the client counts is what the server has counted, refusals by their reasons."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path

import orjson
import pytest

from secure_rpc.cli.load import Drive
from secure_rpc.cli.people import EX_CONFIG
from secure_rpc.configuration import ConfigurationError
from secure_rpc.dev.authority import Authority
from secure_rpc.loading import mix, traffic
from secure_rpc.loading.callers import DevelopmentIdentities, Proofs, Where, read_tokens
from secure_rpc.loading.calling import Streaming
from secure_rpc.loading.samples import Samples
from secure_rpc.loading.usage import Usage
from secure_rpc.platform import Application

from probe.v1 import probe_pb2 as pb
from support.processes import PROBE, PROBED, module_of
from support.target import Target

METHODS = {
    f"/{service.full_name}/{m.name}": m for service in pb.DESCRIPTOR.services_by_name.values() for m in service.methods
}
ALL = (
    "Unary=4,ServerStream=1,ClientStream=1,Bidi=1,Protected=1,TenantUnary=1,"
    "health=1,watch=1,no-token=1,bad-token=1,stranger=1,other-tenant=1"
)


def drive_on(target: Target, text: str = ALL, *, capacity_seconds: float = 0.0, metrics: str | None = None) -> Drive:
    files, caller = target.service.files, target.service.callers["alice"]
    identities = DevelopmentIdentities(
        issuer=target.service.issuer,
        authority=Authority.load(files.intermediate_certificate, files.intermediate_key),
        caller=caller,
        trust_domain=target.service.trust_domain,
    )
    samples = Samples({"ServerStream": {"act": "x", "count": 4}}, caller.tenants[0])
    return Drive(
        where=Where(target.service.target, files.client_certificate, files.client_key, files.ca_certificate),
        acts=mix.acts(mix.shares(text), METHODS, samples, can_sign=True),
        proofs=Proofs(identities.tokens(3, "load"), identities.stranger()),
        schedule=traffic.Schedule(rate=150, seconds=2, warm_up_seconds=0.2),
        streaming=Streaming(
            messages=5, seconds=5
        ),  # a watch stays open for so long; all else ends before, on any machine
        connections=2,
        usage=Usage(f"http://127.0.0.1:{target.service.server.admin.port}/metrics" if metrics is None else metrics),
        identities=identities,
        capacity_seconds=capacity_seconds,
    )


async def test_each_kind_of_call_is_made_counted_and_refused_as_it_should(target: Target) -> None:
    figures, ways = await drive_on(target).run()
    acts = figures["acts"]
    assert figures["calls"] == figures["due"] == 300
    assert (figures["not_made"], figures["let_in"], ways) == (0, {}, {})
    each, four = 20, 80
    assert acts["Unary"]["ended"] == {"OK": four}
    assert acts["ServerStream"]["ended"] == acts["Bidi"]["ended"] == acts["ClientStream"]["ended"] == {"OK": each}
    assert acts["ServerStream"]["messages"] == acts["Bidi"]["messages"] == 5 * each
    assert acts["Protected"]["ended"] == acts["TenantUnary"]["ended"] == acts["Health Check"]["ended"] == {"OK": each}
    assert acts["Health Watch"]["ended"] == {"OPEN": each}
    assert acts["Health Watch"]["messages"] == each
    assert figures["refused"] == {
        "UNAUTHENTICATED TOKEN_MISSING": each,
        "UNAUTHENTICATED TOKEN_SIGNATURE_WRONG": each,
        "PERMISSION_DENIED PERMISSION_MISSING": each,
        "PERMISSION_DENIED TENANT_DENIED": each,
    }
    assert figures["server"]["cpu_seconds"] > 0
    assert figures["server"]["memory_bytes"] > 0
    assert sum(target.servicer.committed) == 5 * len(target.servicer.committed), "each upload was whole"


async def test_authentications_are_counted_in_each_way(target: Target) -> None:
    _, ways = await drive_on(target, "Unary=1", capacity_seconds=0.3).run()
    assert set(ways) == {"known", "new token", "new certificate"}
    assert all(way["done"] > 0 and way["refused"] == 0 for way in ways.values())
    subjects = {record["subject"] for record in await target.service.audit_records() if record.get("subject")}
    assert sum("-new-" in subject for subject in subjects) == ways["new token"]["done"]


async def test_who_is_let_in_and_should_not_be_stops_it_before_it_begins(target: Target) -> None:
    drive = drive_on(target, "Unary=1,stranger=1")
    wrong = Drive(
        **{
            **{name: getattr(drive, name) for name in Drive.__slots__},
            "proofs": Proofs([target.token()], target.token()),
        }
    )
    with pytest.raises(ConfigurationError, match="stranger is answered OK, and should be refused"):
        await wrong.run()
    assert target.calls == 2


async def test_what_is_not_answered_as_it_should_is_said_before_it_begins(target: Target) -> None:
    drive = drive_on(target, "Unary=1")
    nobody = Drive(**{**{name: getattr(drive, name) for name in Drive.__slots__}, "proofs": Proofs([])})
    with pytest.raises(ConfigurationError, match="Unary is answered UNAUTHENTICATED TOKEN_MISSING"):
        await nobody.run()


async def test_metrics_that_are_not_there_cost_the_figures_of_the_server_alone(target: Target) -> None:
    drive = drive_on(target, "Unary=1", metrics="http://127.0.0.1:1/metrics")
    figures, _ = await drive.run()
    assert figures["acts"]["Unary"]["ended"] == {"OK": 300}
    assert figures["server"] == {}
    assert "127.0.0.1:1" in drive.usage.problem


def test_tokens_are_read_line_by_line(tmp_path: Path) -> None:
    file = tmp_path / "tokens.txt"
    file.write_text("one\ntwo\n")
    assert read_tokens(file) == ["one", "two"]
    file.write_text("\n")
    with pytest.raises(ConfigurationError, match="no token"):
        read_tokens(file)


async def command(application: Application, target: Target, folder: Path, *options: str) -> tuple[int, str]:
    """Run the command with files that somebody was given; return its exit code and what it said."""
    files = target.service.files
    (folder / "tokens.txt").write_text(f"{target.token()}\n")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", PROBE, "load", "--config", str(folder / "settings.yaml"),
        "--target", target.service.target, "--tokens", str(folder / "tokens.txt"), "--tenant", "acme",
        "--certificate", str(files.client_certificate), "--key", str(files.client_key),
        "--ca", str(files.ca_certificate),
        "--rate", "50", "--seconds", "1", "--warm-up", "0", *options,
        stdout=PIPE, stderr=STDOUT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), PROBED: module_of(application)},
    )  # fmt: skip
    async with asyncio.timeout(120):
        output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


async def test_the_command_drives_what_runs_elsewhere_and_keeps_a_report(
    application: Application, target: Target, tmp_path: Path
) -> None:
    mixed = ("--mix", "Unary=3,TenantUnary=1,other-tenant=1", "--report", str(tmp_path / "report"))
    code, said = await command(application, target, tmp_path, *mixed)
    assert code == 0, said
    figures = orjson.loads((tmp_path / "report" / "load.json").read_bytes())
    assert {name: act["calls"] for name, act in figures["acts"].items()} == {
        "Unary": 30,
        "TenantUnary": 10,
        "TenantUnary, other-tenant": 10,
    }
    assert figures["refused"] == {"PERMISSION_DENIED TENANT_DENIED": 10}
    assert figures["server"] == {}, "its metrics were not named"
    assert "what the server needs is not known" in said
    page = (tmp_path / "report" / "load.md").read_text()
    assert "| TenantUnary, other-tenant | unary | 10 |" in page
    assert (tmp_path / "report" / "load.svg").read_text().startswith("<svg")


async def test_the_command_says_what_it_cannot_do_with_what_it_was_given(
    application: Application, target: Target, tmp_path: Path
) -> None:
    code, said = await command(application, target, tmp_path, "--mix", "Unary=1,stranger=1")
    assert code == EX_CONFIG
    assert "--mix stranger" in said
