"""The commands, run as people run them: in a process of their own, by the service's own module."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from secure_rpc.audit.chain_log import ChainLog
from secure_rpc.cli.main import build
from secure_rpc.cli.methods import methods_of
from secure_rpc.cli.people import EX_CONFIG
from secure_rpc.dev.issuer import Caller, load_callers
from secure_rpc.identity.issuer import Issuer
from secure_rpc.identity.tokens import TokenVerifier
from secure_rpc.observing import CallRecord
from secure_rpc.platform import Application
from secure_rpc.settings import PREFIX, load

NOBODY_LISTENS = "127.0.0.1:1"


@dataclass
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


@dataclass
class Shell:
    """A folder with the service's settings, and its command."""

    package: str
    folder: Path

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        clean = {key: value for key, value in os.environ.items() if not key.startswith(PREFIX)}
        return subprocess.Popen(
            [sys.executable, "-m", self.package, *arguments],
            cwd=self.folder,
            env={**clean, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, **environment: str) -> Ended:
        return ended(self.start(*arguments, **environment))

    @property
    def issuers(self) -> tuple[Issuer, ...]:
        """Return the issuers of the settings, whose files are in the folder."""
        return tuple(
            issuer.model_copy(update={"jwks_file": self.folder / (issuer.jwks_file or "none")})
            for issuer in load(self.folder / "config/dev.yaml").authentication.issuers
        )


def ended(process: subprocess.Popen[str]) -> Ended:
    out, err = process.communicate(timeout=60)
    return Ended(process.returncode, out, err)


@pytest.fixture
def shell(application: Application, tmp_path: Path) -> Shell:
    folder = tmp_path / "service"
    for name in ("config", "policy"):
        shutil.copytree(name, folder / name)
    return Shell(application.build_chain.__module__.rpartition(".")[0], folder)


@pytest.fixture
def callers() -> dict[str, Caller]:
    return load_callers(Path("config/dev_callers.yaml"))


def test_the_commands_end_with_a_code_and_a_sentence(
    application: Application, shell: Shell, callers: dict[str, Caller], tmp_path: Path
) -> None:
    made = shell.run("pki", "init")
    assert made == Ended(0, "development certificates made in .dev\n", "")
    method = next(iter(methods_of(application).values())).name
    cut = ChainLog(tmp_path / "audit.log").path
    cut.write_bytes(b"")
    from_environment = {"SECURE_RPC_CONFIG": "config/dev.yaml", "SECURE_RPC_AUDIT__FILE": str(cut)}
    slip, verified, called = map(
        ended,
        (
            shell.start("call", f"{method}x"),
            shell.start("audit", "verify", **from_environment),
            shell.start("call", method, "--as", next(iter(callers)), "--target", NOBODY_LISTENS),
        ),
    )
    assert slip == Ended(EX_CONFIG, "", f'cannot start:\n  there is no method "{method}x"; did you mean "{method}"?\n')
    assert verified == Ended(1, "", f"{cut}: NOT WHOLE: ends at line 0, but 1 were written: the end was cut off\n")
    assert (called.code, called.out) == (14, "")
    assert called.err.startswith("UNAVAILABLE: ")
    assert "Traceback" not in called.err


# --- the same commands in this process, where there are many cases -----------------------------------------------


@pytest.fixture
def invoke(application: Application, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ended]:
    monkeypatch.chdir(shell.folder)
    for key in [key for key in os.environ if key.startswith(PREFIX)]:
        monkeypatch.delenv(key)
    commands = build(application.build_chain.__module__)

    def run(*arguments: str) -> Ended:
        found = CliRunner().invoke(commands, arguments)
        return Ended(found.exit_code, found.stdout, found.stderr)

    return run


Invoke = Callable[..., Ended]


async def test_a_token_is_printed_that_the_service_believes(
    invoke: Invoke, shell: Shell, callers: dict[str, Caller]
) -> None:
    invoke("pki", "init")
    for name, caller in callers.items():
        made = invoke("token", "new", name)
        assert (made.code, made.err) == (0, "")
        found = await TokenVerifier(shell.issuers).verify(made.out.strip())
        assert (found.subject, found.tenants) == (caller.subject, frozenset(caller.tenants))


def test_what_is_there_is_found_and_made_anew_where_that_is_asked(invoke: Invoke) -> None:
    folder = ("--folder", ".dev")
    invoke("pki", "init", *folder)
    assert invoke("pki", "init", *folder).out == "development certificates found in .dev\n"
    assert invoke("pki", "init", "--renew").out == "development certificates made in .dev\n"


def test_a_whole_log_is_told_with_what_is_in_it(invoke: Invoke, tmp_path: Path) -> None:
    log = ChainLog(tmp_path / "audit.log")
    chain = f"  chain {log.chain_id}\n"
    empty = f"{log.path}: whole, 0 calls (none) in 1 lines\n{chain}"
    assert invoke("audit", "verify", str(log.path)) == Ended(0, empty, "")
    for code in ("OK", "OK", "NOT_FOUND"):
        log.add(CallRecord(0.0, "c", "/a/B", "unary", None, "", "", "", "", code, "", 0.0))
    told = invoke("audit", "verify", str(log.path)).out
    assert told == f"{log.path}: whole, 3 calls (OK 2, NOT_FOUND 1) in 4 lines\n{chain}"


def test_the_logs_of_all_workers_are_verified_and_one_that_is_gone_is_missed(
    invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs = [ChainLog(tmp_path / name) for name in ("audit.log", "audit.1.log")]
    monkeypatch.setenv("SECURE_RPC_AUDIT__FILE", str(logs[0].path))
    monkeypatch.setenv("SECURE_RPC_WORKERS", "2")
    whole = [f"{log.path}: whole, 0 calls (none) in 1 lines\n  chain {log.chain_id}" for log in logs]
    assert invoke("audit", "verify") == Ended(0, "\n".join(whole) + "\n", "")
    logs[1].path.unlink()
    found = invoke("audit", "verify")
    assert (found.code, found.out) == (1, whole[0] + "\n")
    assert found.err.startswith(f"{logs[1].path}: NOT WHOLE: cannot be read")


def test_records_are_sent_once_by_a_command_of_its_own(shell: Shell, tmp_path: Path) -> None:
    log = ChainLog(tmp_path / "audit.log")
    log.add(CallRecord(0.0, "c", "/a/B", "unary", None, "", "", "", "", "OK", "", 0.0))
    environment = {"SECURE_RPC_CONFIG": "config/dev.yaml", "SECURE_RPC_AUDIT__FILE": str(log.path)}
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "log.sock"))
        to = ("audit", "export", "--once", "--to", f"syslog+unix://{tmp_path}/log.sock")
        sent = [shell.run(*to, **environment) for _ in range(2)]
        assert [done.out for done in sent] == ["2 records sent\n", "0 records sent\n"]
        assert b'"event":"chain_started"' in server.recv(65536)
        assert b'"call_id":"c"' in server.recv(65536)
    refused = shell.run("audit", "export", "--to", "syslog+tcp://logs.example.org", **environment)
    assert (refused.code, "for all to read; use TLS, or say --plaintext" in refused.err) == (EX_CONFIG, True)
    nowhere = shell.run("audit", "export", "--to", "carrier-pigeon://loft", **environment)
    assert (nowhere.code, "is no place to send to" in nowhere.err) == (EX_CONFIG, True)


def test_the_methods_of_the_service_are_listed(invoke: Invoke, application: Application) -> None:
    found = invoke("call")
    assert found.code == 0
    assert [line.partition(" ")[0] for line in found.out.splitlines()] == list(methods_of(application))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("audit", "verify", "--config", "none.yaml"), "none.yaml: cannot be read"),
        (("serve", "--config", "none.yaml"), "none.yaml: cannot be read"),
        (("token", "new", "nobody-of-that-name"), 'there is no caller "nobody-of-that-name"; known: '),
        (("token", "new", "nobody", "--callers", "none.yaml"), "none.yaml: cannot be read"),
        (("token", "new", "nobody", "--folder", "none"), "authentication.issuers: none has its jwks_file in none; "),
        (("pki", "init", "--folder", "elsewhere"), "is not in elsewhere: only development files are made"),
        (("call", "Unheard/Of"), 'there is no method "Unheard/Of"; '),
    ],
)
def test_a_mistake_is_told_in_a_line_without_a_traceback(invoke: Invoke, arguments: tuple[str, ...], told: str) -> None:
    invoke("pki", "init")
    found = invoke(*arguments)
    assert (found.code, found.out) == (EX_CONFIG, "")
    assert found.err.startswith("cannot start:\n  ")
    assert told in found.err
    assert "Traceback" not in found.err


def test_all_mistakes_are_told_at_once(invoke: Invoke, shell: Shell) -> None:
    wrong = shell.folder / "wrong.yaml"
    wrong.write_text("service: {}\nlisten: {adress: a}\n", encoding="utf-8")
    found = invoke("audit", "verify", "--config", str(wrong))
    count = len(found.err.splitlines()) - 1
    assert found.err.startswith(f"cannot start, {count} problems:\n")
    assert count > 4
    assert found.code == EX_CONFIG
