"""Callers that pass by, each another one: principals, tokens or addresses that the server has never seen.

Run by the service's own Python, as a module, from the service's folder; makes calls when a line is read that names what
differs and how many calls are made, and prints what became of them. HTTP/2 by hand, since gRPC binds to no address.
"""

from __future__ import annotations

import argparse
import asyncio
import ipaddress
import itertools
import json
import random
import ssl
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import hpack
import uvloop
from secure_rpc import settings as settings_module
from secure_rpc.dev.issuer import Caller
from secure_rpc.dev.setup import DevelopmentFiles, token_issuer

from benchmarks.flooder import PREFACE, SETTINGS, WIDE, WINDOW_UPDATE, Flood, frame

if TYPE_CHECKING:
    from collections.abc import Iterator

CONNECTIONS, STREAMS = 4, 8  # of each, while principals and tokens pass
PEERS_AT_ONCE = 8
FIRST_ADDRESS = int(ipaddress.ip_address("127.1.0.1"))
AUTHORIZATION = bytes([0x1F, 0x08])  # RFC 7541, 6.2.3: never indexed, with the name of the static table's entry 23
PATH = "/order_service.v1.OrderService/GetOrder"
MESSAGE = b"\0\0\0\0\x09" + b"\x0a\x04acme\x12\x011"  # what `benchmarks.calls` has kept
SMALL = 127  # the first length that takes more than one byte, RFC 7541, 5.1


class Headers:
    """The headers of calls, which refer to nothing that came before."""

    def __init__(self) -> None:
        """Encode what is the same in all."""
        same = [
            (":method", "POST"), (":scheme", "https"), (":path", PATH), (":authority", "localhost"),
            ("te", "trailers"), ("content-type", "application/grpc"),
        ]  # fmt: skip
        self._same: bytes = hpack.Encoder().encode([hpack.NeverIndexedHeaderTuple(*each) for each in same])

    def of(self, token: str) -> bytes:
        """Return those of a call that shows a token."""
        value = b"Bearer " + token.encode("ascii")
        return self._same + AUTHORIZATION + _length(len(value)) + value


def _length(number: int) -> bytes:
    if number < SMALL:
        return bytes([number])
    number -= SMALL
    found = [SMALL]
    while number >= 128:  # noqa: PLR2004  # seven bits a byte
        found.append(number % 128 + 128)
        number //= 128
    return bytes([*found, number])


class Passing(Flood):
    """One connection, on which calls are made as long as there are any.

    Args:
        blocks: the headers of each.
        streams: how many are under way at once.

    """

    def __init__(self, blocks: Iterator[bytes], streams: int) -> None:
        """Know what is sent."""
        super().__init__(b"", MESSAGE)
        self._blocks, self._streams, self._begun = blocks, streams, 0
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin as many calls as may be."""
        self._transport = transport  # type: ignore[assignment]
        opening = frame(SETTINGS) + frame(WINDOW_UPDATE, payload=WIDE.to_bytes(4, "big"))
        self._transport.write(PREFACE + opening + b"".join(self._call() for _ in range(self._streams)))

    def connection_lost(self, _error: Exception | None) -> None:
        """Wait for nothing more."""
        if not self.ended.done():
            self.ended.set_exception(ConnectionError("the server has closed the connection"))

    def _call(self) -> bytes:
        block = next(self._blocks, None)
        if block is None:
            if self._begun == self.served + self.refused + self.reset and not self.ended.done():
                self.ended.set_result(None)
            return b""
        self._block, self._begun = block, self._begun + 1
        return super()._call()


class Passers:
    """All that pass by.

    Args:
        target: "host:port".
        config: the settings of the server.
        certificates: the folder with a client's.
    """

    def __init__(self, target: str, config: Path, certificates: Path) -> None:
        """Get ready to sign tokens."""
        self._host, _, self._port = target.rpartition(":")
        self._issuer = token_issuer(settings_module.load(config), DevelopmentFiles(certificates))
        self._context = ssl.create_default_context(cafile=str(certificates / "ca.pem"))
        self._context.load_cert_chain(certificates / "client.pem", certificates / "client.key")
        self._context.set_alpn_protocols(["h2"])
        self._headers = Headers()
        self._numbers = itertools.count()
        self._known: list[bytes] = []

    async def principals(self, count: int) -> list[Flood]:
        """Make calls, each of another principal."""
        return await self._on_few(self._block(f"user-{next(self._numbers)}") for _ in range(count))

    async def tokens(self, count: int) -> list[Flood]:
        """Make calls of one principal, each with another token."""
        return await self._on_few(self._block("one") for _ in range(count))

    async def peers(self, count: int) -> list[Flood]:
        """Make calls of one principal, each on a connection from another address."""
        block, numbers = self._block("peer"), iter(range(count))
        found: list[Flood] = []

        async def go_on() -> None:
            for _ in numbers:
                address = str(ipaddress.ip_address(FIRST_ADDRESS + next(self._numbers)))
                found.append(await self._connect(iter([block]), 1, (address, 0)))

        await asyncio.gather(*(go_on() for _ in range(PEERS_AT_ONCE)))
        return found

    def know(self, count: int) -> None:
        """Sign the tokens of so many principals, of whom `some` picks."""
        self._known = [self._block(f"known-{number}") for number in range(count)]

    async def every(self, count: int) -> list[Flood]:
        """Make a call of each of the principals that were made known, as many as are asked for."""
        return await self._on_few(itertools.islice(self._known, count))

    async def some(self, count: int) -> list[Flood]:
        """Make calls of principals that were made known, at random."""
        chosen = random.Random(count)  # noqa: S311  # the same in each round
        return await self._on_few(chosen.choice(self._known) for _ in range(count))

    def _block(self, subject: str) -> bytes:
        caller = Caller(subject=subject, tenants=("acme",), groups=("readers",))
        return self._headers.of(self._issuer.token(caller))

    async def _on_few(self, blocks: Iterator[bytes]) -> list[Flood]:
        return list(await asyncio.gather(*(self._connect(blocks, STREAMS) for _ in range(CONNECTIONS))))

    async def _connect(self, blocks: Iterator[bytes], streams: int, address: tuple[str, int] | None = None) -> Flood:
        loop = asyncio.get_running_loop()
        transport, passing = await loop.create_connection(
            lambda: Passing(blocks, streams), self._host, int(self._port),
            ssl=self._context, server_hostname="localhost", local_addr=address,
        )  # fmt: skip
        await passing.ended
        transport.abort()
        return passing


async def main() -> None:
    """Read the arguments, then lines, and do as they say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target")
    parser.add_argument("config", type=Path)
    parser.add_argument("certificates", type=Path)
    arguments = parser.parse_args()
    passers = Passers(arguments.target, arguments.config, arguments.certificates)
    while line := await asyncio.to_thread(sys.stdin.readline):
        what, count = line.split()
        made: list[Flood] = []
        if what == "know":
            passers.know(int(count))
        else:
            made = await getattr(passers, what)(int(count))
        told = {name: sum(getattr(each, name) for each in made) for name in ("served", "refused", "reset")}
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    uvloop.run(main())
