"""A client whose handshakes all fail, in known ways: as many of each kind, at a steady rate, once a line is read.

Run by the service's own Python, as a module, from the folder above.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import ssl
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

LEAST_PRIORITY = 19
PATIENCE_SECONDS = 20.0
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"  # RFC 9113, section 3.4


def contexts(certificates: Path, foreign: Path) -> Mapping[str, ssl.SSLContext | None]:
    """Return what the client does of TLS, by the reason for which the server counts it.

    Args:
        certificates: The folder with sound ones.
        foreign: That with those of another CA.

    """

    def client(folder: Path | None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(certificates / "ca.pem"))
        context.set_alpn_protocols(["h2"])
        if folder:
            context.load_cert_chain(folder / "client.pem", folder / "client.key")
        return context

    old = client(certificates)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    return {"no_certificate": client(None), "untrusted": client(foreign), "old_protocol": old, "not_tls": None}


async def knock(host: str, port: int, context: ssl.SSLContext | None) -> None:
    """Try to connect, and see it refused.

    Raises:
        TimeoutError: The server lets the connection stand.

    """
    with suppress(OSError):
        async with asyncio.timeout(PATIENCE_SECONDS):
            reader, writer = await asyncio.open_connection(
                host, port, ssl=context, server_hostname="localhost" if context else None
            )
            try:
                writer.write(PREFACE)
                while await reader.read(4096):
                    pass
            finally:
                writer.close()


async def main() -> None:
    """Read the arguments, wait for a line, make the handshakes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target")
    parser.add_argument("certificates", type=Path)
    parser.add_argument("foreign", type=Path)
    parser.add_argument("count", type=int)
    parser.add_argument("seconds", type=float)
    arguments = parser.parse_args()
    os.nice(LEAST_PRIORITY)  # its own work would be another machine's: good callers and server have the cores first
    host, _, port = arguments.target.rpartition(":")
    kinds = itertools.cycle(contexts(arguments.certificates, arguments.foreign).values())
    await asyncio.to_thread(sys.stdin.readline)
    started = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for number in range(arguments.count):
            await asyncio.sleep(started + number * arguments.seconds / arguments.count - time.perf_counter())
            tasks.create_task(knock(host, int(port), next(kinds)))


if __name__ == "__main__":
    asyncio.run(main())
