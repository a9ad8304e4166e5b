"""What gRPC is told: retries of harmless methods alone, and calls to all servers in turn."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf import descriptor_pool

from secure_rpc.client import connect
from secure_rpc.client_config import service_config, target_of
from secure_rpc.configuration import ConfigurationError


def test_without_services_nothing_is_tried_again_and_servers_are_called_in_turn() -> None:
    config = service_config([])
    assert config["methodConfig"] == []
    assert config["loadBalancingConfig"] == [{"round_robin": {}}]


def test_methods_that_do_not_say_that_they_do_no_harm_are_not_tried_again() -> None:
    health = descriptor_pool.Default().FindServiceByName("grpc.health.v1.Health")
    assert service_config([health])["methodConfig"] == []


@pytest.mark.parametrize("target", ["orders:50051", "dns:///orders:50051", "ipv4:10.0.0.1:1,10.0.0.2:1", "unix:/a"])
def test_a_target_is_a_name_of_grpc(target: str) -> None:
    assert target_of(target, "") == target


@pytest.mark.parametrize(
    ("addresses", "expected"),
    [
        (["10.0.0.1:50051"], "ipv4:10.0.0.1:50051"),
        (["10.0.0.1:50051", "10.0.0.2:50052"], "ipv4:10.0.0.1:50051,10.0.0.2:50052"),
        (("[::1]:50051", "[2001:db8::1]:50051"), "ipv6:[::1]:50051,[2001:db8::1]:50051"),
    ],
)
def test_addresses_are_called_together(addresses: list[str], expected: str) -> None:
    assert target_of(addresses, "orders") == expected


@pytest.mark.parametrize(
    ("addresses", "server_name", "problem"),
    [
        ([], "orders", "no address of a server is given; name one at least"),
        (
            ["10.0.0.1:1"],
            "",
            "several addresses have no name in common; say server_name, which their certificates have",
        ),
        (["10.0.0.1:1", "[::1]:1"], "orders", "10.0.0.1:1, [::1]:1: gRPC takes addresses of one IP version together"),
        *(
            (
                ["10.0.0.1:1", wrong],
                "orders",
                f'{wrong} is no IP address with a port, such as "10.0.0.1:50051"; a name is a target by itself',
            )
            for wrong in ("orders:50051", "10.0.0.2", "10.0.0.2:", "10.0.0.2:http", "10.0.0.2:1,evil:1", "")
        ),
    ],
)
def test_what_cannot_be_called_together_is_refused(addresses: list[str], server_name: str, problem: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        target_of(addresses, server_name)
    assert caught.value.problems == (problem,)


def test_connect_refuses_such_addresses_too(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is no IP address"):
        connect(["orders:1"], certificate_file=tmp_path, key_file=tmp_path, ca_file=tmp_path, server_name="orders")
