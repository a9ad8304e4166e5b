"""SPIFFE IDs: the strict grammar of the SPIFFE-ID document, sections 2.1 to 2.3."""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_ID_BYTES = 2048
MAX_TRUST_DOMAIN_BYTES = 255
_TRUST_DOMAIN = re.compile(r"[a-z0-9._-]+", re.ASCII)
_SEGMENT = re.compile(r"[A-Za-z0-9._-]+", re.ASCII)
_SCHEME = "spiffe://"


@dataclass(frozen=True, slots=True)
class SpiffeId:
    """A name such as `spiffe://example.org/ns/shop/sa/orders`, valid by construction of `parse`."""

    trust_domain: str
    path: str  # "" or "/segment/segment"

    def __str__(self) -> str:
        """Return the URI."""
        return f"{_SCHEME}{self.trust_domain}{self.path}"


def parse(text: str) -> SpiffeId:
    """Read a SPIFFE ID.

    Raises:
        ValueError: the text breaks a rule of the grammar; the message says which.
    """
    if len(text.encode("utf-8", "surrogatepass")) > MAX_ID_BYTES:
        raise ValueError(f"a SPIFFE ID has at most {MAX_ID_BYTES} bytes")
    if not text.startswith(_SCHEME):
        raise ValueError("a SPIFFE ID begins with spiffe://")
    trust_domain, slash, path = text.removeprefix(_SCHEME).partition("/")
    check_trust_domain(trust_domain)
    if slash:
        for segment in path.split("/"):
            if not _SEGMENT.fullmatch(segment) or segment in {".", ".."}:
                raise ValueError("a path segment has letters, digits, '.', '-' and '_', and is neither '.' nor '..'")
    return SpiffeId(trust_domain, slash + path)


def check_trust_domain(name: str) -> str:
    """Return the name of a trust domain.

    Raises:
        ValueError: it is empty, too long, or has other characters than the grammar allows.
    """
    if not _TRUST_DOMAIN.fullmatch(name) or len(name) > MAX_TRUST_DOMAIN_BYTES:
        raise ValueError(
            f"a trust domain has 1 to {MAX_TRUST_DOMAIN_BYTES} lower-case letters, digits, '.', '-' and '_'"
        )
    return name
