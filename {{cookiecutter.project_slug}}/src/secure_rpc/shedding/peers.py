"""Peers, as far as they can be told apart before anybody is authenticated: by IP address."""

from __future__ import annotations

import functools
import ipaddress

REMEMBERED = 4096


def peer_of(address: str) -> str:
    """Return whose address it is; one host has all of an IPv6 /64, and takes any address of it that it likes.

    Args:
        address: as gRPC has it, such as "ipv4:10.0.0.1:40000" or "ipv6:[2001:db8::1]:40000".
    """
    host = address.rpartition(":")[0]
    return _network(host) if host.startswith("ipv6:") else host


@functools.lru_cache(REMEMBERED)
def _network(host: str) -> str:
    text = host.removeprefix("ipv6:").strip("[]").partition("%")[0]  # a zone is of this machine, not of the peer
    try:
        parsed = ipaddress.IPv6Address(text)
    except ValueError:
        return host
    if parsed.ipv4_mapped is not None:  # all of IPv4 is within one /64
        return f"ipv4:{parsed.ipv4_mapped}"
    return f"ipv6:{ipaddress.IPv6Network((parsed, 64), strict=False)}"
