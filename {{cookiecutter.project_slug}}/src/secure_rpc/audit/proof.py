"""Proofs that a record is in a signed chain: the record, a dozen hashes and a checkpoint. No other record is shown."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import orjson
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from secure_rpc.audit.chain import MAX_LEAVES
from secure_rpc.audit.checking import Signatures
from secure_rpc.audit.checkpoints import CHECKPOINT
from secure_rpc.audit.merkle import path_to, root_by
from secure_rpc.audit.segments import parsed
from secure_rpc.audit.trail import Line, lines_of
from secure_rpc.configuration import ConfigurationError

FORMAT = "secure_rpc audit proof 1"


class Proof(NamedTuple):
    """What shows that a record is in a chain."""

    record: bytes  # the line
    path: list[tuple[str, str]]  # see `merkle.path_to`
    checkpoint: bytes  # the line

    def encoded(self) -> bytes:
        """Return it as it is handed on."""
        content = {
            "format": FORMAT,
            "record": self.record.decode(),
            "path": self.path,
            "checkpoint": self.checkpoint.decode(),
        }
        return orjson.dumps(content, option=orjson.OPT_INDENT_2) + b"\n"


def prove(path: Path, call_id: str, identity: X25519PrivateKey | None = None) -> Proof | None:
    """Return the proof of a call's record; None where the log has none.

    Args:
        path: the log.
        call_id: of the call.
        identity: opens sealed files.

    Raises:
        ConfigurationError: the log cannot be read, or no checkpoint covers the record.
    """
    leaves: list[bytes] = []
    found: tuple[Line, int] | None = None  # and its place among the leaves
    for line in lines_of(path, identity, skip_sealed=True):
        if line.content["event"] == CHECKPOINT:
            if found is not None:
                return _proof(found[0], leaves, found[1], line)
            leaves.clear()
        elif line.content.get("call_id") == call_id:
            found = line, len(leaves)
        leaves.append(hashlib.sha256(line.raw).digest())
        if found is None:
            del leaves[:-MAX_LEAVES]
    if found is None:
        return None
    raise ConfigurationError(
        f"{path}: no checkpoint after the record of {call_id} is there yet; they are made where "
        "audit.checkpoint_key_file names a key, and this one within audit.checkpoint_seconds"
    )


def _proof(record: Line, leaves: list[bytes], index: int, checkpoint: Line) -> Proof:
    covered = checkpoint.content["seq"] - checkpoint.content["from"]
    skipped = len(leaves) - covered
    if not 0 <= skipped <= index:
        raise ConfigurationError(
            f"the checkpoint {checkpoint.content['seq']} does not cover the record; see audit verify"
        )
    return Proof(record.raw, path_to(leaves[skipped:], index - skipped), checkpoint.raw)


def check(content: bytes, signatures: Signatures) -> tuple[dict[str, Any], str]:
    """Hold a proof against the keys, without the log.

    Returns:
        the record, and what is wrong with the proof: "" where it proves the record.
    """
    try:
        proof = orjson.loads(content)
        if proof["format"] != FORMAT:
            return {}, "it has a format that is not known"
        line, checkpoint_line = proof["record"].encode(), proof["checkpoint"].encode()
        record, checkpoint = parsed(line), parsed(checkpoint_line)
        root = root_by(hashlib.sha256(line).digest(), [(side, other) for side, other in proof["path"]])
        first, is_checkpoint = checkpoint["from"], checkpoint["event"] == CHECKPOINT
        is_covered = record["chain"] == checkpoint["chain"] and first <= record["seq"] < checkpoint["seq"]
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}, "it is no proof"
    if not is_checkpoint or not is_covered or checkpoint.get("root") != root.hex():
        return record, "the record is not among those that the checkpoint covers"
    if problem := signatures.problem(checkpoint):
        return record, f"the checkpoint {problem}"
    return record, ""
