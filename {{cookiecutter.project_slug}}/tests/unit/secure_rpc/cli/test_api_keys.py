"""API keys are made, listed and taken back from the command line; a running service notices."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from secure_rpc.client import connect
from secure_rpc.identity.api_key import ApiKeys, load, new_key, save
from secure_rpc.platform import Application

from probe.v1 import probe_pb2 as pb
from probe.v1 import probe_pb2_grpc
from support.processes import serve_process
from support.target import POLICY
from support.world import ending

EX_CONFIG = 78
Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def command(application: Application) -> Command:
    """Return what runs the service's own command."""
    package = application.build_chain.__module__.rpartition(".")[0]

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        clean = {key: value for key, value in os.environ.items() if not key.startswith("SECURE_RPC_")}
        return subprocess.run(
            [sys.executable, "-m", package, "apikey", *map(str, arguments)],
            env={**clean, "PYTHONPATH": os.pathsep.join(sys.path), "COLUMNS": "200"},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    return run


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.yaml"


def test_a_key_is_made_used_listed_and_taken_back(command: Command, file: Path) -> None:
    made = command("new", "batch", "--file", file, "--days", "7", "--tenant", "acme", "--group", "jobs")
    assert (made.returncode, made.stderr) == (0, "")
    text = made.stdout.strip()
    key_id, _, secret = text.partition(".")
    key = ApiKeys(file).verify(text)
    assert (key.subject, key.tenants, key.groups) == ("batch", ("acme",), ("jobs",))
    assert timedelta(days=6.9) < key.expires - datetime.now(UTC) <= timedelta(days=7)
    assert file.stat().st_mode & 0o777 == 0o600
    assert secret not in file.read_text(encoding="utf-8")

    listed = command("list", "--file", file)
    assert listed.returncode == 0
    assert key_id in listed.stdout
    assert secret not in listed.stdout + listed.stderr
    assert key.sha256 not in listed.stdout + listed.stderr

    revoked = command("revoke", key_id, "--file", file)
    assert (revoked.returncode, revoked.stdout) == (0, f"{key_id} of batch is revoked\n")
    assert load(file) == {}
    again = command("revoke", key_id, "--file", file)
    assert (again.returncode, again.stdout) == (EX_CONFIG, "")
    assert again.stderr == f'cannot start:\n  {file}: there is no key "{key_id}"; known: none\n'


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("list",), "authentication.api_keys_file: is not set; set it, or give --file"),
        (("list", "--file", "none.yaml"), "none.yaml: cannot be read"),
        (("revoke", "a", "--file", "none.yaml"), "none.yaml: cannot be read"),
        (("new", "batch", "--file", "no/such/folder/keys.yaml"), "keys.yaml: cannot be written (No such file"),
        (("new", "", "--file", "none.yaml"), "the subject is empty; name whose key it is"),
    ],
)
def test_a_mistake_is_told_in_a_line_without_a_traceback(
    command: Command, arguments: tuple[str, ...], told: str
) -> None:
    found = command(*arguments)
    assert (found.returncode, found.stdout) == (EX_CONFIG, "")
    assert found.stderr.startswith("cannot start:\n  ")
    assert told in found.stderr
    assert "Traceback" not in found.stderr


def test_what_stands_in_the_file_is_shown_as_it_is(command: Command, file: Path) -> None:
    past = datetime.now(UTC) - timedelta(days=1)
    _, entry = new_key("[red]batch[/] [/x]", past, ("[acme]",), ())
    save(file, {"a": entry})
    listed = command("list", "--file", file)
    assert (listed.returncode, listed.stderr) == (0, "")
    assert "[red]batch[/] [/x]" in listed.stdout
    assert "[acme]" in listed.stdout
    assert ", expired" in listed.stdout


async def test_a_key_that_is_taken_back_is_refused_by_the_running_service_within_two_seconds(
    application: Application, command: Command, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = POLICY + "  - role: caller\n    principals: [{ issuer: api-key, group: jobs }]\n    tenants: own\n"
    monkeypatch.setattr("support.processes.POLICY", policy)
    text = command("new", "batch", "--file", file, "--tenant", "acme", "--group", "jobs").stdout.strip()
    other = command("new", "other", "--file", file, "--tenant", "acme", "--group", "jobs").stdout.strip()
    settings = {"authentication": {"credentials": ["both", "api_key"], "api_keys_file": str(file)}}
    async with serve_process(application, tmp_path, settings) as served:

        async def code_of(key: str) -> str:
            async with connect(
                await served.process.address(),
                certificate_file=served.files.client_certificate,
                key_file=served.files.client_key,
                ca_file=served.files.ca_certificate,
                api_key=lambda: key,
            ) as channel:
                stub: Any = probe_pb2_grpc.ProbeServiceStub(channel)
                return (await ending(stub.Unary(pb.Ask(act="one"), timeout=10))).code.name

        assert (await code_of(text), await code_of(other)) == ("OK", "OK")
        assert command("revoke", text.partition(".")[0], "--file", file).returncode == 0
        revoked_at = time.monotonic()
        while await code_of(text) == "OK":
            assert time.monotonic() - revoked_at < 2
            await asyncio.sleep(0.05)
        assert await code_of(text) == "UNAUTHENTICATED"
        assert await code_of(other) == "OK"
    whole = "\n".join([*map(str, served.process.lines), *served.process.text])
    assert text not in whole
    assert text not in served.settings.audit.file.read_text(encoding="utf-8")
