"""A process imports what its command needs and nothing more: a worker keeps it in memory, a person waits for it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

import pytest
from typer.testing import CliRunner

from secure_rpc.cli.main import COMMANDS, build

NOT_FOR_WORKERS = (
    "redis",
    "secure_rpc.cli.main",
    "secure_rpc.client",
    "secure_rpc.dev",
    "secure_rpc.doctor",
    "secure_rpc.drills",
    "secure_rpc.observability",
)
NOT_YET = ("cel_expr_python", "httpx")  # some megabytes each, until a setting or a policy needs it
ALL = "from secure_rpc.cli import main; [main.load(name, 'a_service.app') for name in main.COMMANDS]"


def imported_by(code: str, looked_for: Sequence[str]) -> list[str]:
    """Return which modules are there after some code."""
    code = f"import sys\n{code}\nfrom secure_rpc.settings import Settings\n"
    code += f"print(*[name for name in {looked_for} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


@pytest.mark.parametrize(
    ("code", "found"),
    [("import secure_rpc.cli.serving", ()), (ALL, NOT_FOR_WORKERS)],
    ids=["serving", "all, which shows that it can fail"],
)
def test_a_worker_imports_neither_the_other_commands_nor_a_store_that_it_has_not(
    code: str, found: Sequence[str]
) -> None:
    assert imported_by(code, NOT_FOR_WORKERS) == [*found]


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("import secure_rpc.cli.serving", ()),
        ("from secure_rpc.policy.conditions import Conditions; Conditions().check('true', frozenset())", NOT_YET[:1]),
        ("from secure_rpc.identity.fetching import Fetcher; Fetcher(1)", NOT_YET[1:]),
    ],
    ids=["serving", "a condition", "keys that are fetched"],
)
def test_what_not_all_services_need_is_imported_by_those_that_do(code: str, found: Sequence[str]) -> None:
    assert imported_by(code, NOT_YET) == [*found]


@pytest.mark.parametrize("name", ["pki", "audit", "call", "policy"])
def test_a_command_waits_for_the_modules_of_no_other(name: str) -> None:
    others = {f"secure_rpc.cli.{entry.module}" for other, entry in COMMANDS.items() if other != name}
    own = f"secure_rpc.cli.{COMMANDS[name].module}"
    code = f"from secure_rpc.cli import main; main.load({name!r}, 'a_service.app')"
    assert imported_by(code, [own, *sorted(others)]) == [own]


@pytest.mark.parametrize(
    ("typed", "told"),
    [(["audti"], "Did you mean 'audit'?"), (["zzz"], "No such command 'zzz'."), (["audit", "shwo"], "'show'")],
)
def test_a_command_that_there_is_not_is_told_with_what_may_have_been_meant(typed: list[str], told: str) -> None:
    found = CliRunner().invoke(build("a_service.app"), typed)
    assert found.exit_code == 2
    assert told in " ".join(found.output.split())


def test_all_commands_are_listed() -> None:
    found = CliRunner().invoke(build("a_service.app"), ["--help"])
    for name, entry in COMMANDS.items():
        assert f" {name} " in found.output
        assert entry.help in found.output


def test_the_command_of_a_worker_is_told_from_that_of_its_supervisor() -> None:
    """Both are the same word; only what a supervisor adds tells them apart."""
    code = (
        "import sys\n"
        "from secure_rpc.workers.launch import is_for_supervisor, is_for_worker\n"
        "for line in (['serve'], ['serve', '--control', '7'], ['call', '--control']):\n"
        "    print(is_for_supervisor(line), is_for_worker(line))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines() == ["True False", "False True", "False False"]
