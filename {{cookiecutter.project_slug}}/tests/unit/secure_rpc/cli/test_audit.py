"""`audit show`, `prove`, `decrypt` and `verify` with keys and anchors, as people use them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from typer.testing import CliRunner

from secure_rpc.audit.archive import Keeping
from secure_rpc.audit.chain_log import ChainLog, Pace
from secure_rpc.audit.checkpoints import signer
from secure_rpc.audit.files import Anchor, anchor_of
from secure_rpc.audit.sealing import recipient
from secure_rpc.call import Principal
from secure_rpc.cli import audit
from secure_rpc.cli.people import EX_CONFIG
from secure_rpc.observing import CallRecord

PEM, PKCS8 = Encoding.PEM, PrivateFormat.PKCS8
ALICE = Principal("", "https://issuer.example.org", "alice")
BOB = Principal("", "https://issuer.example.org", "bob")


class Folder:
    """Keys, a log with a few calls, and the commands."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.log = path / "audit.log"
        self.collected = path / "collected.log"
        signing, opening = Ed25519PrivateKey.generate(), X25519PrivateKey.generate()
        subject = PublicFormat.SubjectPublicKeyInfo
        self.key, self.public = path / "sign.pem", path / "verify.pem"
        self.key.write_bytes(signing.private_bytes(PEM, PKCS8, NoEncryption()))
        self.public.write_bytes(signing.public_key().public_bytes(PEM, subject))
        self.identity, self.recipient = path / "identity.pem", path / "recipient.pem"
        self.identity.write_bytes(opening.private_bytes(PEM, PKCS8, NoEncryption()))
        self.recipient.write_bytes(opening.public_key().public_bytes(PEM, subject))

    async def write(self, pace: Pace = Pace(), keeping: Keeping = Keeping()) -> None:  # noqa: B008  # constants
        def collect(anchor: Anchor) -> None:
            content = {"event": "audit anchor", "chain": anchor.chain, "seq": anchor.sequence, "head": anchor.head}
            with self.collected.open("a", encoding="utf-8") as file:
                file.write(json.dumps(content) + "\n")

        log = ChainLog(self.log, pace=pace, keeping=keeping, signer=signer(self.key), on_anchor=collect)
        for number in range(20):
            who, code = (ALICE, "OK") if number % 4 else (BOB, "PERMISSION_DENIED")
            at = 1_767_225_600 + 60 * number  # 2026-01-01
            method = f"/shop.v1.Orders/{'Get' if number % 2 else 'List'}"
            reason = "" if code == "OK" else "POLICY"
            log.add(
                CallRecord(at, f"id-{number}", method, "unary", who, "", f"t{number % 3}", "", "", code, reason, 0.0)
            )
            await log.durable()
        log.note("policy_reloaded", result="ok", policy="v2")
        await log.close()

    def run(self, *arguments: str) -> tuple[int, str, str]:
        found = CliRunner().invoke(audit.commands(), arguments)
        return found.exit_code, found.stdout, found.stderr

    def shown(self, *arguments: str) -> list[str]:
        code, out, _ = self.run("show", str(self.log), *arguments)
        assert code == 0
        return [str(json.loads(line).get("call_id", json.loads(line)["event"])) for line in out.splitlines()]


@pytest.fixture
async def folder(tmp_path: Path) -> Folder:
    made = Folder(tmp_path)
    await made.write()
    return made


# --- verify --------------------------------------------------------------------------------------------------------


def test_verify_checks_signatures_and_anchors_and_says_how_far(folder: Folder) -> None:
    code, out, err = folder.run(
        *("verify", str(folder.log), "--key", str(folder.public), "--anchors", str(folder.collected))
    )
    assert (code, err) == (0, "")
    first, second = out.splitlines()
    assert first == f"{folder.log}: whole, 20 calls (OK 15, PERMISSION_DENIED 5) in 25 lines"
    assert second.endswith("; signed up to line 25; 2 anchors from elsewhere fit")


def test_verify_says_file_line_and_byte_and_exits_with_1(folder: Folder) -> None:
    content = folder.log.read_bytes()
    folder.log.write_bytes(content.replace(b'"id-7"', b'"id-8"', 1))
    byte = content.index(b"\n", content.index(b'"id-7"')) + 1
    code, out, err = folder.run("verify", str(folder.log))
    assert (code, out) == (1, "")
    assert err == (
        f"{folder.log} (byte {byte}): NOT WHOLE: line 11: does not follow from the line before: that line, or this "
        "one, was changed\n"
    )


def test_verify_misses_a_chain_that_anchors_or_people_expect(folder: Folder, tmp_path: Path) -> None:
    ChainLog(tmp_path / "other.log")
    other = str(tmp_path / "other.log")
    assert folder.run("verify", other)[0] == 0
    code, _, err = folder.run("verify", other, "--anchors", str(folder.collected))
    assert (code, "MISSING: none of the logs has it" in err) == (1, True)
    code, _, err = folder.run("verify", other, "--expect", "abc")
    assert (code, err) == (1, "chain abc: MISSING: none of the logs has it; it was taken away\n")


# --- show ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "ids"),
    [
        (("--principal", "bob", "--until", "2026-01-01T00:10"), [0, 4, 8]),
        (("--principal", "https://issuer.example.org bob", "--tenant", "t0"), [0, 12]),
        (("--code", "PERM*", "--since", "2026-01-01T00:10:00+00:00"), [12, 16]),
        (("--reason", "POLICY", "--method", "List", "--tenant", "t1"), [4, 16]),
        (("--method", "/shop.v1.Orders/Get", "--tenant", "t2"), [5, 11, 17]),
        (("--call-id", "id-3"), [3]),
        (("--since", "2026-01-01", "--until", "2026-01-01T00:02"), [0, 1]),
        (("--event", "call", "--tenant", "nobody"), []),
    ],
)
def test_show_filters(folder: Folder, arguments: tuple[str, ...], ids: list[int]) -> None:
    assert folder.shown(*arguments) == [f"id-{number}" for number in ids]


def test_show_has_events_too(folder: Folder) -> None:
    assert folder.shown("--event", "policy_*") == ["policy_reloaded"]
    assert folder.shown("--event", "policy_*", "--since", "1h") == ["policy_reloaded"]
    assert folder.shown("--event", "policy_*", "--until", "1h") == []


def test_show_in_lines_for_people(folder: Folder) -> None:
    _, out, _ = folder.run("show", str(folder.log), "--table", "--call-id", "id-4")
    assert out == "2026-01-01T00:04:00.000  /shop.v1.Orders/List  bob  PERMISSION_DENIED POLICY  t1  id-4\n"
    _, out, _ = folder.run("show", str(folder.log), "--table", "--event", "policy_reloaded")
    assert out.split("  ")[1:] == ["policy_reloaded", "", "result=ok, policy=v2", "", "\n"]


def test_show_says_what_is_no_time(folder: Folder) -> None:
    code, _, err = folder.run("show", str(folder.log), "--since", "yesterday")
    assert (code, '--since: "yesterday" is no time' in err) == (EX_CONFIG, True)


async def test_show_follows_a_log_from_file_to_file(folder: Folder) -> None:
    command = "from secure_rpc.cli import audit; audit.commands()()"
    arguments = [sys.executable, "-c", command, "show", str(folder.log), "--follow", "--event", "call"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE) as process:  # noqa: ASYNC220  # nothing else is done
        output = process.stdout
        assert output is not None
        seen = [json.loads(output.readline())["call_id"] for _ in range(20)]
        log = ChainLog(folder.log, pace=Pace(rotate_bytes=4096))
        for number in range(20, 60):
            log.add(CallRecord(0.0, f"id-{number}", "/a/B", "unary", None, "", "", "", "", "OK", "", 0.0))
            await log.durable()
        seen += [json.loads(output.readline())["call_id"] for _ in range(40)]
        process.kill()
        await log.close()
    assert seen == [f"id-{number}" for number in range(60)]


# --- prove ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def proof(folder: Folder) -> Path:
    code, out, err = folder.run("prove", "id-7", str(folder.log))
    assert (code, err) == (0, "")
    file = folder.path / "proof.json"
    file.write_text(out, encoding="utf-8")
    return file


def test_a_proof_is_checked_by_the_key_alone_and_shows_no_other_record(folder: Folder, proof: Path) -> None:
    folder.log.unlink()
    code, out, err = folder.run("prove", "--check", str(proof), "--key", str(folder.public))
    assert (code, err) == (0, "")
    assert "proves line 10 of chain" in out
    assert "id-7" in out
    text = proof.read_text(encoding="utf-8")
    assert not [number for number in range(20) if number != 7 and f"id-{number}\\" in text]
    assert len(json.loads(text)["path"]) <= 5


Change = Callable[[dict[str, str]], dict[str, object]]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda made: {"record": made["record"].replace("alice", "mallory")}, "is not among those"),
        (lambda made: {"record": made["checkpoint"]}, "is not among those"),
        (lambda made: {"path": made["path"][:-1]}, "is not among those"),
        (lambda made: {"checkpoint": made["record"]}, "it is no proof"),
        (lambda made: {"checkpoint": made["checkpoint"].replace('"time":"2', '"time":"3')}, "is not signed by the key"),
        (lambda _: {"path": [["X", "00"]]}, "it is no proof"),
        (lambda _: {"format": "another"}, "it has a format that is not known"),
        (lambda _: {"record": 1}, "it is no proof"),
    ],
)
def test_a_proof_that_was_changed_proves_nothing(folder: Folder, proof: Path, change: Change, told: str) -> None:
    made = json.loads(proof.read_text(encoding="utf-8"))
    proof.write_text(json.dumps({**made, **change(made)}), encoding="utf-8")
    code, _, err = folder.run("prove", "--check", str(proof), "--key", str(folder.public))
    assert (code, "PROVES NOTHING" in err, told in err) == (1, True, True)


def test_every_record_can_be_proved(folder: Folder) -> None:
    for number in range(20):
        code, out, _ = folder.run("prove", f"id-{number}", str(folder.log))
        (folder.path / "each").write_text(out, encoding="utf-8")
        assert code == 0
        assert folder.run("prove", "--check", str(folder.path / "each"), "--key", str(folder.public))[0] == 0


def test_what_cannot_be_proved_is_told(folder: Folder, tmp_path: Path) -> None:
    code, _, err = folder.run("prove", "id-99", str(folder.log))
    assert (code, err) == (1, "no log has a record of the call id-99\n")
    unsigned = ChainLog(tmp_path / "unsigned.log")
    unsigned.add(CallRecord(0.0, "id-1", "/a/B", "unary", None, "", "", "", "", "OK", "", 0.0))
    code, _, err = folder.run("prove", "id-1", str(unsigned.path))
    assert (code, "no checkpoint after the record of id-1 is there yet" in err) == (EX_CONFIG, True)
    assert folder.run("prove")[0] == EX_CONFIG


# --- decrypt -------------------------------------------------------------------------------------------------------


async def test_sealed_files_are_opened_by_their_recipient(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    keeping = Keeping(compress=False, recipient=recipient(folder.recipient))
    await folder.write(Pace(rotate_bytes=4096), keeping)
    log = ChainLog(folder.log, keeping=keeping)
    log._archive.tidy().result()
    log._writer.close()
    sealed = folder.path / "audit.log-000001.sealed"
    assert b"alice" not in sealed.read_bytes()
    assert "lines are sealed and were not read: give --identity" in folder.run("verify", str(folder.log))[1]
    whole = folder.run("verify", str(folder.log), "--identity", str(folder.identity))[1]
    assert "whole, 20 calls (OK 15, PERMISSION_DENIED 5)" in whole
    assert len(folder.shown("--event", "call", "--identity", str(folder.identity))) == 20
    assert folder.run("decrypt", str(sealed), "--identity", str(folder.identity))[0] == 0
    assert b"alice" in (folder.path / "audit.log-000001").read_bytes()
    sealed.write_bytes(sealed.read_bytes()[:-1])
    other = folder.path / "other"
    code, _, err = folder.run("decrypt", str(sealed), "--identity", str(folder.identity), "--output", str(other))
    assert (code, "was changed or cut off, in its piece 1" in err) == (EX_CONFIG, True)
    assert not list(folder.path.glob("other*"))
    assert anchor_of(folder.log).exists()
