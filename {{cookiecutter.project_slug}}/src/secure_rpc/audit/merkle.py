"""A hash tree over lines (RFC 6962, 2.1): one line is shown to be among thousands by a dozen hashes.

The leaves are the lines' own SHA-256. RFC 6962 puts a byte before leaves and nodes so that one cannot pass for the
other; a line begins with a brace, so the byte before nodes is enough.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

_NODE = b"\x01"


def _joined(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(_NODE + left + right).digest()


def _level_above(level: Sequence[bytes]) -> list[bytes]:
    """Return the nodes above; one without a neighbour goes up as it is, which makes the tree of RFC 6962."""
    above = [_joined(level[at], level[at + 1]) for at in range(0, len(level) - 1, 2)]
    return [*above, level[-1]] if len(level) % 2 else above


def root_of(leaves: Sequence[bytes]) -> bytes:
    """Return the root over leaves, of which there is at least one."""
    level = leaves
    while len(level) > 1:
        level = _level_above(level)
    return level[0]


def path_to(leaves: Sequence[bytes], index: int) -> list[tuple[str, str]]:
    """Return the hashes that lead from a leaf to the root, each with the side on which it stands ("L" or "R")."""
    path, level = [], leaves
    while len(level) > 1:
        neighbour = index ^ 1
        if neighbour < len(level):
            path.append(("L" if neighbour < index else "R", level[neighbour].hex()))
        level, index = _level_above(level), index // 2
    return path


def root_by(leaf: bytes, path: Sequence[tuple[str, str]]) -> bytes:
    """Return the root to which a path leads from a leaf.

    Raises:
        ValueError: the path is malformed.
    """
    node = leaf
    for side, other in path:
        if side not in {"L", "R"}:
            raise ValueError(f"no side: {side!r}")
        node = _joined(bytes.fromhex(other), node) if side == "L" else _joined(node, bytes.fromhex(other))
    return node
