"""The checkpoints of a chain, checked while it is walked."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

from secure_rpc.audit.chain import MAX_LEAVES
from secure_rpc.audit.checkpoints import Verifier, signed_bytes
from secure_rpc.audit.merkle import root_of


class Signatures:
    """The keys by which checkpoints may be signed.

    Args:
        verifiers: of these keys.
    """

    def __init__(self, verifiers: Iterable[Verifier]) -> None:
        self._by_id = {verifier.key_id: verifier for verifier in verifiers}

    def problem(self, checkpoint: Mapping[str, Any]) -> str:
        """Return what is wrong with the signature of a checkpoint, "" where nothing is."""
        key = checkpoint.get("key")
        verifier = self._by_id.get(key) if isinstance(key, str) else None
        if verifier is None:
            return f"is signed by the key {key!r:.40}, which is none of those given"
        try:
            signed, signature = signed_bytes(checkpoint), bytes.fromhex(checkpoint["signature"])
        except (KeyError, TypeError, ValueError):
            return "is no checkpoint"
        return "" if verifier.is_signed(signed, signature) else "is not signed by the key that it names"


class Checkpoints:
    """What is known of the checkpoints so far.

    Args:
        signatures: checks them; without it, only what needs no key is checked.
    """

    def __init__(self, signatures: Signatures | None) -> None:
        self._signatures = signatures
        self._leaves: deque[bytes] = deque(maxlen=MAX_LEAVES)
        self._has_skipped = False
        self.signed = 0  # the number of the last line that is under a signature

    def add(self, leaf: bytes, *, is_checkpoint: bool) -> None:
        """Take the hash of a line."""
        if is_checkpoint:
            self._leaves.clear()
            self._has_skipped = False
        self._leaves.append(leaf)

    def skip(self) -> None:
        """Leave out lines that cannot be read; the next checkpoint may cover some of them."""
        self._leaves.clear()
        self._has_skipped = True

    def check(self, content: Mapping[str, Any]) -> str:
        """Return what is wrong with a checkpoint, "" where nothing is."""
        sequence, first = content["seq"], content.get("from")
        if type(first) is not int or not 0 < first < sequence:
            return "is no checkpoint"
        leaves = list(self._leaves)[first - sequence :]
        if len(leaves) < sequence - first:
            if not self._has_skipped:
                return "covers lines that are not its own"
        elif root_of(leaves).hex() != content.get("root"):
            return "does not cover the lines before it"
        if self._signatures is not None:
            if problem := self._signatures.problem(content):
                return problem
            self.signed = sequence
        return ""

    def covers(self, sequence: int) -> bool:
        """Tell whether a line is under a signature, where signatures are looked at."""
        return self._signatures is None or sequence < self.signed

    def check_end(self) -> str:
        """Return what is wrong with them all, "" where nothing is."""
        if self._signatures is not None and not self.signed:
            return "no checkpoint is signed: either the service had no key, or the log was made anew"
        return ""
