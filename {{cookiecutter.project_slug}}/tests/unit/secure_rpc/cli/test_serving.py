"""A worker keeps in memory what it serves with, and nothing more."""

from __future__ import annotations

import subprocess
import sys

import pytest

NOT_FOR_WORKERS = ("redis", "secure_rpc.cli.main", "secure_rpc.doctor", "secure_rpc.drills", "secure_rpc.observability")


@pytest.mark.parametrize("imported", ["secure_rpc.cli.serving", "secure_rpc.cli.main"])
def test_a_worker_imports_neither_the_other_commands_nor_a_store_that_it_has_not(imported: str) -> None:
    code = (
        f"import sys, {imported}\n"
        "from secure_rpc.settings import Settings\n"
        f"print(*[name for name in {NOT_FOR_WORKERS} if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    found = done.stdout.split()
    assert (done.returncode, done.stderr) == (0, "")
    assert found == ([] if imported.endswith("serving") else [*NOT_FOR_WORKERS]), (
        "the second shows that the first can fail"
    )


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
