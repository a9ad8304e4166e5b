"""The commands that keep keyrings."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from secure_rpc.cli.keyrings import commands
from secure_rpc.confidential import load


def run(*arguments: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(commands(), [str(argument) for argument in arguments])
    return result.exit_code, result.output


def test_a_key_is_rotated_in_three_steps(tmp_path: Path) -> None:
    path = tmp_path / "keyring.yaml"
    assert run("new", "--file", path)[0] == 0
    old = load(path).active
    assert run("new", "--file", path)[0] != 0
    assert load(path).active == old
    assert run("rotate", "--file", path)[0] == 0
    _, new = load(path).keys
    assert load(path).active == old
    assert run("rotate", "--file", path, "--drop", old)[0] != 0  # it still encrypts
    assert run("rotate", "--file", path, "--activate")[0] == 0
    assert load(path).active == new
    code, told = run("list", "--file", path)
    assert code == 0
    assert told.splitlines() == [f"{old}  decrypts", f"{new}  encrypts and decrypts"]
    assert not [key for key in load(path).keys.values() if key in told]
    assert run("rotate", "--file", path, "--drop", old)[0] == 0
    assert list(load(path).keys) == [new]
    assert path.stat().st_mode & 0o777 == 0o600
