"""Principals for Envoy by their certificates: a URI or DNS name of it, or its subject.

Envoy refuses regular expressions that compile to more than 100 instructions, so a pattern is split: what stands before
its first star and after its last one is compared as text, and an expression sees to the segments alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from secure_rpc.policy.export.common import SERVICE_DECIDES, Inexpressible

MAX_INSTRUCTIONS = 90  # of 100, as we count them
SEGMENT = "[!-.0-~]+"  # in ASCII, as SPIFFE IDs are: "[^/]" would take many instructions in UTF-8
SEGMENT_INSTRUCTIONS = 5
_ESCAPED = frozenset(',+"\\<>;')  # in a distinguished name (RFC 2253, section 2.4)


def every(ids: list[dict[str, Any]]) -> dict[str, Any]:
    """Return who is all of these."""
    return ids[0] if len(ids) == 1 else {"and_ids": {"ids": ids}}


def one_of(ids: list[dict[str, Any]]) -> dict[str, Any]:
    """Return who is one of these."""
    return ids[0] if len(ids) == 1 else {"or_ids": {"ids": ids}}


def certificate_of(workload: str) -> dict[str, Any]:
    """Return who has a certificate with this name."""
    if workload.startswith("cn:"):
        name = f"CN={_escaped(workload.removeprefix('cn:'))}"
        return one_of([_named(suffix=name), _named(contains=f"{name},"), _named(contains=f"{name}+")])
    if "*" not in workload:
        return _named(exact=workload.removeprefix("dns:"))
    start, _, _ = workload.partition("*")
    _, _, end = workload.rpartition("*")
    parts = [_named(prefix=start)]
    if end:
        parts.append(_named(suffix=end))
    if expression := _expression(workload):
        parts.append(_named(safe_regex={"regex": expression}))
    return every(parts)


def lost_of_workload(workload: str, place: str) -> Iterator[Inexpressible]:
    """Yield what the rules do not say of a certificate's name."""
    if workload.startswith("cn:"):
        yield Inexpressible(
            place,
            f"the name {workload}",
            "Envoy compares the whole subject as text",
            f"whoever's subject has this common name in it, however deep, passes; {SERVICE_DECIDES} the rest",
        )
    elif "*" in workload and _expression(workload) != _precise(workload):
        yield Inexpressible(
            place,
            f"the pattern {workload}",
            "it is too long for Envoy",
            f"exported as its start and its end, with anything between; {SERVICE_DECIDES} the rest",
        )


def _named(**matcher: Any) -> dict[str, Any]:
    return {"authenticated": {"principal_name": matcher}}


def _expression(workload: str) -> str:
    """Return what the segments of a pattern look like, "" where even their number would take too long to say."""
    rough = "/".join(SEGMENT if segment else "" for segment in workload.split("/"))
    return next((found for found in (_precise(workload), rough) if _instructions(found) <= MAX_INSTRUCTIONS), "")


def _precise(workload: str) -> str:
    segments = workload.split("/")
    stars = [number for number, segment in enumerate(segments) if "*" in segment]
    return "/".join(
        SEGMENT.join(map(re.escape, segment.split("*"))) if stars[0] <= number <= stars[-1] else segment and SEGMENT
        for number, segment in enumerate(segments)
    )


def _instructions(expression: str) -> int:
    return len(expression.replace(SEGMENT, "")) + SEGMENT_INSTRUCTIONS * expression.count(SEGMENT)


def _escaped(name: str) -> str:
    """Return a common name as Envoy prints it: signs with a backslash, what is no ASCII byte by byte in hex."""
    escaped = "".join(
        f"\\{character}"
        if character in _ESCAPED
        else character
        if " " <= character <= "~"
        else "".join(f"\\{byte:02X}" for byte in character.encode())
        for character in name
    )
    if escaped[:1] in {" ", "#"}:
        escaped = f"\\{escaped}"
    return f"{escaped[:-1]}\\ " if escaped.endswith(" ") and len(escaped) > 1 else escaped
