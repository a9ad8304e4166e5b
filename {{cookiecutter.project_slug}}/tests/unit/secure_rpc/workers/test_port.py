"""A reserved port lets in those who share it, and nobody else."""

from __future__ import annotations

import socket

import pytest

from secure_rpc.configuration import ConfigurationError
from secure_rpc.workers.port import ReservedPort


def listening(port: int) -> socket.socket:
    """Listen as gRPC does when it shares a port."""
    each = socket.socket()
    each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    each.bind(("127.0.0.1", port))
    each.listen()
    return each


def test_workers_listen_side_by_side_and_get_all_the_connections() -> None:
    reserved = ReservedPort("127.0.0.1:0")
    assert reserved.address == f"127.0.0.1:{reserved.port}"
    with listening(reserved.port) as one, listening(reserved.port) as other:
        for _ in range(20):
            socket.create_connection(("127.0.0.1", reserved.port)).close()
        accepted = 0
        for each in (one, other):
            each.setblocking(False)  # noqa: FBT003  # its only argument
            while True:
                try:
                    each.accept()[0].close()
                except BlockingIOError:
                    break
                accepted += 1
        assert accepted == 20
    reserved.close()


@pytest.mark.parametrize("shared", [False, True], ids=["alone", "another instance that shares with its own"])
def test_a_port_in_use_is_refused(*, shared: bool) -> None:
    with listening(0) if shared else socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(
            ConfigurationError, match=rf"listen.address: {address} cannot be had \(Address already in use"
        ):
            ReservedPort(address)


def test_a_port_that_another_supervisor_has_reserved_is_refused_before_anybody_listens() -> None:
    reserved = ReservedPort("127.0.0.1:0")
    with pytest.raises(ConfigurationError, match="stop what uses it, or choose another"):
        ReservedPort(reserved.address)
    reserved.close()
    ReservedPort(reserved.address).close()


def test_a_name_is_taken_at_all_its_addresses() -> None:
    reserved = ReservedPort("localhost:0")
    assert {each.getsockname()[1] for each in reserved._sockets} == {reserved.port}
    reserved.close()


def test_a_host_that_is_not_ours_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"listen.address: 192.0.2.1:0 cannot be had"):
        ReservedPort("192.0.2.1:0")
