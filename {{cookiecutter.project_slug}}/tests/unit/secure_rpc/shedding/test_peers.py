"""A peer is an IP address, and of IPv6 the network that one host has all of."""

from __future__ import annotations

import pytest

from secure_rpc.shedding.peers import REMEMBERED, _network, peer_of


@pytest.mark.parametrize(
    ("address", "peer"),
    [
        ("ipv4:10.0.0.1:40000", "ipv4:10.0.0.1"),
        ("ipv6:[2001:db8:1:2:3:4:5:6]:40000", "ipv6:2001:db8:1:2::/64"),
        ("ipv6:[2001:db8:1:2::1]:1", "ipv6:2001:db8:1:2::/64"),
        ("ipv6:[2001:db8:1:3::1]:1", "ipv6:2001:db8:1:3::/64"),
        ("ipv6:[::1]:1", "ipv6:::/64"),
        ("ipv6:[::ffff:10.0.0.1]:1", "ipv4:10.0.0.1"),  # not all of IPv4 as one
        ("ipv6:[fe80::1%25eth0]:1", "ipv6:fe80::/64"),
        ("ipv6:[fe80::1%eth0]:1", "ipv6:fe80::/64"),
        ("ipv6:%5B2001:db8::1%5D:1", "ipv6:%5B2001:db8::1%5D"),  # whatever it is, it is one peer
        ("unix:", "unix"),
    ],
)
def test_a_peer_is_told_by_its_address(address: str, peer: str) -> None:
    assert peer_of(address) == peer


def test_what_is_remembered_of_addresses_is_bounded() -> None:
    for number in range(REMEMBERED + 100):
        peer_of(f"ipv6:[2001:db8::{number:x}]:1")
    assert _network.cache_info().currsize <= REMEMBERED
