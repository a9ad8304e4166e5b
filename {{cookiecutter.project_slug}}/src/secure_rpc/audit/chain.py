"""The chain itself, in memory: its last number and hash, and what becomes of a record that is its next line."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

import orjson

from secure_rpc.audit.checkpoints import CHECKPOINT, Signer, signed_bytes
from secure_rpc.audit.files import Anchor
from secure_rpc.audit.merkle import root_of
from secure_rpc.audit.record import timestamp

GENESIS = "0" * 64  # what the first line of a chain has for the hash of the line before it
MAX_LEAVES = 20_000  # lines under one checkpoint


class Chain:
    """Make lines of records.

    Args:
        last: the last line so far; number 0 where there is none.
        signer: signs checkpoints; without one there are none.
        leaves: hashes of the lines since the last checkpoint, itself included.
        clock: gives Unix time in seconds.
    """

    def __init__(self, last: Anchor, signer: Signer | None, leaves: list[bytes], clock: Callable[[], float]) -> None:
        self.id, self.sequence, self.head = last
        self._named, self._before = orjson.dumps(self.id), orjson.dumps(self.head)
        self._signer = signer
        self._leaves = leaves
        self._clock = clock

    @property
    def unsigned(self) -> int:
        """Return how many lines the next checkpoint would sign, 0 where nothing signs."""
        return len(self._leaves) if self._signer is not None else 0

    @property
    def last(self) -> Anchor:
        """Return the last line."""
        return Anchor(self.id, self.sequence, self.head)

    def line(self, content: dict[str, Any]) -> bytes:
        """Return the next line, without its line break."""
        self.sequence += 1
        if "time" not in content:
            content["time"] = timestamp(self._clock())
        # as if these were the first of the content, but for a copy of it
        line = b'{"chain":%b,"seq":%d,"prev":%b,%b' % (self._named, self.sequence, self._before, _encoded(content)[1:])
        self._link(line)
        return line

    def checkpoint(self) -> bytes | None:
        """Return a signed line; None where nothing signs, or nothing is to be signed."""
        signer, leaves = self._signer, self._leaves
        if signer is None or not leaves:
            return None
        self.sequence += 1
        content = {
            "chain": self.id,
            "seq": self.sequence,
            "prev": self.head,
            "event": CHECKPOINT,
            "time": timestamp(self._clock()),
            "key": signer.key_id,
            "from": self.sequence - len(leaves),
            "root": root_of(leaves).hex(),
        }
        self._leaves = []
        line = _encoded({**content, "signature": signer.sign(signed_bytes(content)).hex()})
        self._link(line)
        return line

    def _link(self, line: bytes) -> None:
        digest = hashlib.sha256(line).digest()
        self.head = digest.hex()
        self._before = b'"%b"' % self.head.encode()
        if self._signer is not None:
            self._leaves.append(digest)


def _encoded(content: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(content)
    except TypeError:  # a lone surrogate, say: a record must not be lost for that, still less those beside it
        return json.dumps(content, ensure_ascii=False, default=str, separators=(",", ":")).encode("utf-8", "replace")
