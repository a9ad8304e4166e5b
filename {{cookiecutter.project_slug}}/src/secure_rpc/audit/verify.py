"""Whether an audit log is whole: each line's hash in the next one, no number and no file missing, the end as anchored.

What is hashed is the raw line, not what a parser makes of it: two parsers may make two things of one line.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from secure_rpc.audit.chain import GENESIS
from secure_rpc.audit.checking import Checkpoints, Signatures
from secure_rpc.audit.checkpoints import CHECKPOINT
from secure_rpc.audit.files import NO_ANCHOR, Anchor, read_anchor
from secure_rpc.audit.record import CALL
from secure_rpc.audit.segments import (
    RETIRED,
    STARTED,
    Segment,
    Unreadable,
    opened_segment,
    parsed,
    said_ends,
    segments_of,
)

ChainAnchors = Mapping[str, Mapping[int, str]]  # by chain and number, the line's hash: kept elsewhere


@dataclass(slots=True)
class Finding:
    """What a verification has found."""

    path: Path
    records: int = 0  # of calls
    lines: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    problem: str = ""  # "" when the log is whole
    chain: str = ""
    file: Path | None = None  # in which the problem is
    byte: int | None = None  # at which the line begins; of the file as it was before it was compressed
    begins_at: int = 1  # the number of the first line; those before it were retired
    unread: int = 0  # lines in sealed files, which were believed to be what the files say
    signed: int = 0  # lines up to the last checkpoint that was signed by a key that was given
    anchored: int = 0  # anchors from elsewhere that fit

    @property
    def whole(self) -> bool:
        """Tell whether nothing is wrong."""
        return not self.problem

    @property
    def place(self) -> str:
        """Return the file, and where in it, as far as it is known."""
        at = "" if self.byte is None else f" (byte {self.byte})"
        return f"{self.file or self.path}{at}"


class Broken(Exception):
    """What is wrong, said as it follows "line 5"."""


def verify(
    path: Path,
    *,
    signatures: Signatures | None = None,
    identity: X25519PrivateKey | None = None,
    anchors: ChainAnchors | None = None,
) -> Finding:
    """Check a log from its first line to its last.

    Args:
        path: the log; its closed files are beside it.
        signatures: checks the checkpoints; not checked without.
        identity: opens sealed files; without it, what they say of themselves is believed.
        anchors: that were kept elsewhere.
    """
    finding = Finding(path)
    _Walk(finding, signatures, identity, anchors or {}).run()
    return finding


def chains_missing(findings: Iterable[Finding], expected: Collection[str]) -> list[str]:
    """Return the chains of which there is no log: which there must be is known from elsewhere."""
    found = {finding.chain for finding in findings}
    return sorted(set(expected) - found)


class _Walk:
    """One verification."""

    def __init__(
        self,
        finding: Finding,
        signatures: Signatures | None,
        identity: X25519PrivateKey | None,
        anchors: ChainAnchors,
    ) -> None:
        self._finding = finding
        self._identity = identity
        self._anchors = anchors
        self._wanted: Mapping[int, str] = {}  # of this chain
        self._checkpoints = Checkpoints(signatures)
        self._local = read_anchor(finding.path)
        self._last = NO_ANCHOR
        self._first: Anchor | None = None  # the line before the first that is there
        self._number = 0  # of the file that is walked
        self._first_file = 1
        self._retired: list[tuple[int, Anchor, int]] = []  # file, its last line, the number of the line that says so
        self._seen_local = ""

    def run(self) -> None:
        """Walk."""
        finding = self._finding
        try:
            for segment in segments_of(finding.path):
                finding.file = segment.path
                self._segment(segment)
            finding.file = finding.path
            finding.problem = self._check_end()
        except Broken as error:
            finding.problem = str(error)
        except Unreadable as error:
            finding.problem = f"cannot be read: {error}"
        if finding.problem:
            return
        finding.file = None

    def _segment(self, segment: Segment) -> None:
        if segment.number and self._first is not None and segment.number != self._number + 1:
            raise Broken(f"the file before it is missing: number {self._number + 1}")
        self._number = segment.number or (self._number + 1 if self._first is not None else 0)
        if segment.is_sealed and self._identity is None:
            self._believe(segment)
            return
        with opened_segment(segment, self._identity) as file:
            self._lines(segment, file)
        if segment.is_sealed and said_ends(segment).last != self._last:
            raise Broken("does not end as its first line says")

    def _lines(self, segment: Segment, file: IO[bytes]) -> None:
        finding, at = self._finding, 0
        for number, raw in enumerate(file, start=1):
            finding.byte = at
            try:
                self._line(raw.rstrip(b"\n"), is_first=number == 1)
                if not raw.endswith(b"\n"):
                    raise Broken("is torn: the writer was stopped amid it")  # noqa: TRY301
            except (Broken, ValueError) as error:
                raise Broken(f"line {number}: {error}") from None
            at += len(raw)
        finding.byte = None
        if segment.number and not at:
            raise Broken("is empty")

    def _line(self, line: bytes, *, is_first: bool) -> None:
        content = parsed(line)
        chain, sequence, previous = content["chain"], content["seq"], content["prev"]
        if self._first is None:
            self._begin(content)
        last = self._last
        if sequence != last.sequence + 1:
            raise Broken(f"has the number {sequence}: lines are missing, doubled or swapped")
        if previous != last.head:
            raise Broken("does not follow from the line before: that line, or this one, was changed")
        if last.sequence and chain != last.chain:
            raise Broken("belongs to another chain")
        if is_first and self._number > 1 and (content["event"], content.get("file")) != (STARTED, self._number):
            raise Broken(f"does not begin the file number {self._number}")
        digest = hashlib.sha256(line)
        self._last = Anchor(chain, sequence, digest.hexdigest())
        self._note(content, digest.digest())

    def _begin(self, content: dict[str, Any]) -> None:
        """Take the first line as the beginning: of the chain, or of what is left of it."""
        if content["event"] == STARTED:
            file = content.get("file")
            if type(file) is not int or file < 2 or self._number not in {0, file}:  # noqa: PLR2004  # the second one
                raise Broken("does not begin the file that it is")
            self._number = file
            self._last = Anchor(content["chain"], content["seq"] - 1, content["prev"])
        elif self._number > 1:
            raise Broken(f"does not begin the file number {self._number}")
        else:
            self._number = 1
            self._last = Anchor(content["chain"], 0, GENESIS)
        self._set_first(content["chain"])

    def _set_first(self, chain: str) -> None:
        self._first, self._first_file = self._last, self._number
        if self._last.sequence:
            self._checkpoints.skip()
        self._wanted = self._anchors.get(chain, {})
        self._finding.chain, self._finding.begins_at = chain, self._last.sequence + 1

    def _note(self, content: dict[str, Any], digest: bytes) -> None:
        """Count a line that follows from the one before it."""
        finding, last, event = self._finding, self._last, content["event"]
        if event == CALL:
            code = content.get("code")
            if type(code) is not str:
                raise Broken("is no audit record")
            finding.records += 1
            finding.codes[code] += 1
        elif event == CHECKPOINT:
            if problem := self._checkpoints.check(content):
                raise Broken(problem)
            finding.signed = self._checkpoints.signed
        elif event == RETIRED:
            self._note_retired(content)
        self._checkpoints.add(digest, is_checkpoint=event == CHECKPOINT)
        finding.lines += 1
        self._compare(last)

    def _note_retired(self, content: dict[str, Any]) -> None:
        file, sequence, head = content.get("file"), content.get("last"), content.get("head")
        if type(file) is not int or type(sequence) is not int or type(head) is not str:
            raise Broken("is no audit record")
        self._retired.append((file, Anchor(self._last.chain, sequence, head), self._last.sequence))

    def _compare(self, last: Anchor) -> None:
        if last.sequence == self._local.sequence:
            self._seen_local = last.head
        if self._wanted and (head := self._wanted.get(last.sequence)) is not None:
            if head != last.head:
                raise Broken("is not the one that the anchor from elsewhere names: the log was made anew")
            self._finding.anchored += 1

    def _believe(self, segment: Segment) -> None:
        """Go on after a sealed file, by what it says of itself; the next file must follow from that."""
        before, last = said_ends(segment)
        if self._first is None:
            self._last = before
            self._set_first(before.chain)
        if before != self._last or last.sequence <= before.sequence:
            raise Broken("does not follow from the file before")
        self._finding.unread += last.sequence - before.sequence
        self._finding.lines += last.sequence - before.sequence
        self._last = last
        self._checkpoints.skip()
        self._compare(last)

    def _check_end(self) -> str:
        """Hold the whole against what is known of it."""
        last, local = self._last, self._local
        if local.sequence == 0:
            return "the anchor is missing: whether the end was cut off cannot be told"
        if last.sequence < local.sequence:
            return f"ends at line {last.sequence}, but {local.sequence} were written: the end was cut off"
        if local.chain != last.chain or (self._seen_local != local.head and self._is_there(local.sequence)):
            return f"line {local.sequence} is not the one that was written: the log was made anew"
        beyond = max(self._wanted, default=0)
        if beyond > last.sequence:
            return f"ends at line {last.sequence}, but an anchor from elsewhere names {beyond}: the end was cut off"
        return self._check_beginning() or self._checkpoints.check_end()

    def _is_there(self, sequence: int) -> bool:
        return self._first is not None and sequence > self._first.sequence

    def _check_beginning(self) -> str:
        first, file = self._first, self._first_file
        if first is None or file == 1 or self._finding.unread:  # what says so may stand in a sealed file
            return ""
        for retired, last, sequence in self._retired:
            if (retired, last) == (file - 1, first) and self._checkpoints.covers(sequence):
                return ""
        return (
            f"begins with the file number {file}, at line {first.sequence + 1}, and nothing in it says that the files "
            "before it were retired: they were taken away"
        )
