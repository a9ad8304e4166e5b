"""Whether an audit log is whole: each line's hash in the next one, no number missing, the end where the anchor says."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from secure_rpc.audit.chain_log import GENESIS, read_anchor


@dataclass(slots=True)
class Finding:
    """What a verification has found."""

    path: Path
    records: int = 0  # of calls
    lines: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    problem: str = ""  # "" when the log is whole

    @property
    def whole(self) -> bool:
        """Tell whether nothing is wrong."""
        return not self.problem


def verify(path: Path) -> Finding:
    """Check a log from its first line to its last; what is hashed is the raw line, not what a parser makes of it."""
    finding = Finding(path)
    head, chain = GENESIS, ""
    anchored = read_anchor(path)
    anchored_head = ""
    try:
        with path.open("rb") as file:
            for number, raw in enumerate(file, start=1):
                line = raw.rstrip(b"\n")
                problem, content = _check_line(line, number, head, chain)
                if problem or not raw.endswith(b"\n"):
                    finding.problem = f"line {number}: {problem or 'is torn: the writer was stopped amid it'}"
                    return finding
                head, chain = hashlib.sha256(line).hexdigest(), str(content["chain"])
                if number == anchored[1]:
                    anchored_head = head
                finding.lines = number
                if content["event"] == "call":
                    finding.records += 1
                    finding.codes[str(content["code"])] += 1
    except OSError as error:
        finding.problem = f"cannot be read: {error}"
        return finding
    finding.problem = _check_end(anchored, finding.lines, chain, anchored_head)
    return finding


def _check_line(line: bytes, number: int, head: str, chain: str) -> tuple[str, dict[str, object]]:
    try:
        content = orjson.loads(line)
        sequence, previous, chain_id = content["seq"], content["prev"], content["chain"]
        _ = content["code"] if content["event"] == "call" else ""
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return "is no audit record", {}
    if sequence != number:
        return f"has the number {sequence}: lines are missing, doubled or swapped", {}
    if previous != head:
        return "does not follow from the line before: that line, or this one, was changed", {}
    if chain and chain_id != chain:
        return "belongs to another chain", {}
    return "", content


def _check_end(anchored: tuple[str, int, str], lines: int, chain: str, anchored_head: str) -> str:
    name, number, expected = anchored
    if number == 0:
        return "the anchor is missing: whether the end was cut off cannot be told"
    if lines < number:
        return f"ends at line {lines}, but {number} were written: the end was cut off"
    if name != chain or anchored_head != expected:
        return f"line {number} is not the one that was written: the log was made anew"
    return ""
