"""The service's port, taken by the supervisor for its workers: it never listens, but keeps others out."""

from __future__ import annotations

import socket
from typing import Self

from secure_rpc.configuration import ConfigurationError


class ReservedPort:
    """Keep an address, so that processes of ours can listen on it together, and nobody else without asking.

    Args:
        address: "host:port"; port 0 takes any that is free.

    Raises:
        ConfigurationError: the address is in use, or cannot be had.
    """

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._sockets: list[socket.socket] = []
        self.port = int(port)
        try:
            for family, where in _resolve(host.strip("[]"), self.port):
                self._reserve(family, where)
        except OSError as error:
            self.close()
            raise ConfigurationError(
                f"listen.address: {address} cannot be had ({error.strerror}); stop what uses it, or choose another"
            ) from None
        self.address = f"{host}:{self.port}"

    def __enter__(self) -> Self:
        """Return itself, to be closed at the end."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of it."""
        self.close()

    def close(self) -> None:
        """Let go of it."""
        for each in self._sockets:
            each.close()

    def _reserve(self, family: socket.AddressFamily, where: tuple[str, int]) -> None:
        host, port = where[0], self.port
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            # SO_REUSEPORT would let it in beside others that have it too, such as another instance of this service
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # past what lingers in TIME_WAIT
            probe.bind((host, port))
            probe.listen(1)
        kept = socket.socket(family, socket.SOCK_STREAM)
        self._sockets.append(kept)
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        kept.bind((host, port))
        self.port = kept.getsockname()[1]


def _resolve(host: str, port: int) -> list[tuple[socket.AddressFamily, tuple[str, int]]]:
    """Return every address of a host, as gRPC listens on them all."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return list(dict.fromkeys((family, (str(where[0]), int(where[1]))) for family, _, _, _, where in found))
