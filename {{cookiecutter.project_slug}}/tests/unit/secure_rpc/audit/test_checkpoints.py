"""A chain that was signed cannot be made anew by who has no key, and says so where it was tried."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from secure_rpc.audit.chain import Chain
from secure_rpc.audit.chain_log import ChainLog, Pace
from secure_rpc.audit.checking import Signatures
from secure_rpc.audit.checkpoints import Secret, Signer, signer, verifier
from secure_rpc.audit.files import Anchor, anchor_of
from secure_rpc.audit.verify import Finding, verify
from secure_rpc.configuration import ConfigurationError
from secure_rpc.observing import CallRecord

from support.clocks import Clock, until

MakeRecord = Callable[..., CallRecord]
Lines = list[bytes]


def key_files(folder: Path, kind: str) -> tuple[Path, Path]:
    """Return the files of a key that signs, and of one that verifies it."""
    if kind == "hmac":
        file = folder / "secret"
        file.write_text("5" * 64 + "\n", encoding="utf-8")
        return file, file
    private, public = folder / "private.pem", folder / "public.pem"
    key = Ed25519PrivateKey.generate()
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return private, public


@pytest.fixture(params=["hmac", "ed25519"])
def keys(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Signer, Signatures]:
    private, public = key_files(tmp_path, request.param)
    return signer(private), Signatures([verifier(public)])


async def written(folder: Path, record: MakeRecord, signs: Signer | None, count: int = 25) -> Path:
    log = ChainLog(folder / "audit.log", pace=Pace(checkpoint_records=10), signer=signs)
    for number in range(count):
        log.add(record(number))
    await log.close()
    return log.path


def checked(path: Path, signatures: Signatures, lines: Lines | None = None) -> Finding:
    """Verify a log, with lines in place of those that it had, and an anchor that fits."""
    if lines is not None:
        path.write_bytes(b"".join(lines))
        content = orjson.loads(lines[-1])
        head = hashlib.sha256(lines[-1].rstrip(b"\n")).hexdigest()
        anchor_of(path).write_bytes(orjson.dumps({"chain": content["chain"], "seq": content["seq"], "head": head}))
    return verify(path, signatures=signatures)


def linked(contents: list[dict[str, Any]]) -> Lines:
    """Return the lines of a chain that holds, with any content."""
    lines, head = [], "0" * 64
    for number, content in enumerate(contents, start=1):
        line = orjson.dumps({**content, "seq": number, "prev": head})
        head = hashlib.sha256(line).hexdigest()
        lines.append(line + b"\n")
    return lines


def with_new_roots(contents: list[dict[str, Any]]) -> Lines:
    """Return the lines of a chain in which only the signatures are not right."""
    chain = Chain(Anchor("made-anew", 0, "0" * 64), Forger(), [], lambda: 0.0)
    lines = []
    for content in contents:
        if content["event"] == "checkpoint":
            signed = orjson.loads(chain.checkpoint() or b"")
            chain._leaves.clear()
            lines.append(orjson.dumps({**signed, "key": content["key"]}))
            chain._link(lines[-1])
        else:
            own = {key: value for key, value in content.items() if key not in {"chain", "seq", "prev"}}
            lines.append(chain.line(own))
    return [line + b"\n" for line in lines]


class Forger(Secret):
    """Signs with a key of its own."""

    def __init__(self) -> None:
        super().__init__(b"f" * 32)


def read(path: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


async def test_checkpoints_come_after_so_many_records_and_at_the_end(
    tmp_path: Path, record: MakeRecord, keys: tuple[Signer, Signatures]
) -> None:
    path = await written(tmp_path, record, keys[0])
    finding = checked(path, keys[1])
    assert (finding.problem, finding.records, finding.signed) == ("", 25, finding.lines)
    signed = [line for line in read(path) if line["event"] == "checkpoint"]
    assert {line["key"] for line in signed} == {keys[0].key_id}
    assert [line["seq"] - line["from"] for line in signed] == [1, 11, 11, 7]


async def test_a_checkpoint_comes_in_time_where_there_is_something_to_sign(
    tmp_path: Path, record: MakeRecord, keys: tuple[Signer, Signatures]
) -> None:
    clock = Clock()
    log = ChainLog(tmp_path / "audit.log", signer=keys[0], clock=clock)
    log.add(record())
    await log.durable()
    for _ in range(3):
        clock.pass_(61)
        log.tick()
        await until(lambda: log.written.sequence == log._chain.sequence)
    assert [line["event"] for line in read(log.path)] == ["chain_started", "checkpoint", "call", "checkpoint"]
    await log.close()


async def test_who_has_no_key_cannot_make_a_log_anew(
    tmp_path: Path, record: MakeRecord, keys: tuple[Signer, Signatures]
) -> None:
    path = await written(tmp_path, record, keys[0])
    contents = read(path)
    for content in contents:
        if content.get("call_id") == "call-3":
            content["subject"] = "bob"
    made_anew = checked(path, keys[1], linked(contents))
    assert made_anew.problem == "line 13: does not cover the lines before it"
    assert checked(path, keys[1], with_new_roots(contents)).problem == "line 2: is not signed by the key that it names"
    assert verify(path).whole
    without = checked(path, keys[1], linked([each for each in contents if each["event"] != "checkpoint"]))
    assert without.problem == "no checkpoint is signed: either the service had no key, or the log was made anew"
    assert verify(path).whole  # and without the key nobody could tell


async def test_checkpoints_of_another_key_do_not_do(
    tmp_path: Path, record: MakeRecord, keys: tuple[Signer, Signatures]
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "secret").write_text("x" * 32, encoding="utf-8")
    path = await written(tmp_path, record, signer(other / "secret"))
    assert checked(path, keys[1]).problem.startswith("line 2: is signed by the key ")
    assert verify(path, signatures=Signatures([verifier(other / "secret")])).whole


async def test_a_checkpoint_that_was_replaced_is_told_where_it_stands(
    tmp_path: Path, record: MakeRecord, keys: tuple[Signer, Signatures]
) -> None:
    path = await written(tmp_path, record, keys[0])
    contents = read(path)
    first, second, *_ = (number for number, each in enumerate(contents) if each["event"] == "checkpoint")
    stolen = [*contents]
    stolen[second] = {**contents[second], "signature": contents[first]["signature"]}
    finding = checked(path, keys[1], linked(stolen))
    assert finding.problem == "line 13: is not signed by the key that it names"
    assert finding.byte == sum(map(len, linked(stolen)[:second]))
    for spoilt in ({"root": 1}, {"from": 0}, {"from": "x"}, {"from": 13}, {"key": None}, {"signature": "zz"}):
        changed = [*contents]
        changed[second] = {**contents[second], **spoilt}
        assert checked(path, keys[1], linked(changed)).problem.startswith("line 13: ")


async def test_what_was_written_before_a_crash_is_under_the_next_checkpoint(
    tmp_path: Path, record: MakeRecord, keys: tuple[Signer, Signatures]
) -> None:
    log = ChainLog(tmp_path / "audit.log", signer=keys[0])
    for number in range(5):
        log.add(record(number))
    await log.durable()
    log._writer.close()  # as the end of a process does
    again = ChainLog(log.path, signer=keys[0])
    finding = checked(again.path, keys[1])
    assert (finding.problem, finding.lines, finding.signed) == ("", 9, 9)
    assert read(again.path)[-1]["from"] == 2
    await again.close()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"short", "holds 5 bytes, and a secret has 32 at least"),
        (b"-----BEGIN NONSENSE-----\n", "is no PEM key without a passphrase"),
        (
            generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
            "is no Ed25519 key; make one by: openssl genpkey -algorithm ed25519",
        ),
    ],
)
def test_a_key_that_is_none_is_refused_with_a_remedy(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "key").write_bytes(content)
    with pytest.raises(ConfigurationError, match="^audit.checkpoint_key_file: .*" + told):
        signer(tmp_path / "key")


def test_a_public_key_signs_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is a public key, which signs nothing"):
        signer(key_files(tmp_path, "ed25519")[1])
    with pytest.raises(ConfigurationError, match="cannot be read"):
        signer(tmp_path / "none")
