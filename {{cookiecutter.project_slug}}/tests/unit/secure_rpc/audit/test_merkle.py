"""The tree over lines is that of RFC 6962, and a path leads from each leaf to its root and from no other."""

from __future__ import annotations

import hashlib

import pytest

from secure_rpc.audit.merkle import path_to, root_by, root_of


def leaves(count: int) -> list[bytes]:
    return [hashlib.sha256(str(number).encode()).digest() for number in range(count)]


def by_the_rfc(level: list[bytes]) -> bytes:
    """RFC 6962, 2.1, as it is written there: split at the largest power of two below the count."""
    if len(level) == 1:
        return level[0]
    at = 1
    while at * 2 < len(level):
        at *= 2
    return hashlib.sha256(b"\x01" + by_the_rfc(level[:at]) + by_the_rfc(level[at:])).digest()


@pytest.mark.parametrize("count", [*range(1, 20), 100, 1000])
def test_the_root_is_that_of_the_rfc(count: int) -> None:
    assert root_of(leaves(count)) == by_the_rfc(leaves(count))


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 13, 100])
def test_a_path_leads_from_its_leaf_to_the_root_and_from_no_other(count: int) -> None:
    made = leaves(count)
    root = root_of(made)
    for index in range(count):
        path = path_to(made, index)
        assert root_by(made[index], path) == root
        assert len(path) <= (count - 1).bit_length()
        assert root_by(made[index - 1] if count > 1 else b"", path) != root


def test_a_path_has_two_sides() -> None:
    with pytest.raises(ValueError, match="no side"):
        root_by(b"", [("M", "00")])
