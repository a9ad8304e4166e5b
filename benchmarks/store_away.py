"""How long a call waits for a store that is slow, hangs or is gone; and whether it is used again by itself.

Run by the service's own Python, as a module, from the service's folder; prints JSON. A server of this process, calls by
a real client: one that needs the store each time (its nonce is kept there), one that may do without it (its quota).
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secure_rpc.tls import floor

floor.establish()

import grpc  # noqa: E402
import uvloop  # noqa: E402
from secure_rpc.state.embedded import find_program  # noqa: E402
from secure_rpc.testing.service import run_service  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

TIMEOUT_SECONDS = 0.25
PAUSE_SECONDS = 0.02  # between calls: a store that has failed is asked again now and then
CALLS = 150
DELAY_SECONDS = 0.1
PATIENCE_SECONDS = 30.0


@asynccontextmanager
async def relayed(port: int, delay: list[float]) -> AsyncIterator[int]:
    """Relay to a port of this machine, each piece of an answer as much later as `delay` says now; gives the port."""
    kept: set[asyncio.Task[None]] = set()

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, back: bool) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                if back and delay[0]:
                    await asyncio.sleep(delay[0])
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (task := asyncio.current_task()) is not None:
            kept.add(task)
        try:
            inner, outer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(pass_on(reader, outer, back=False), pass_on(inner, writer, back=True))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in kept:
            task.cancel()


class Valkey:
    """A server of Valkey, or of Redis, on a free port.

    Args:
        folder: where it works.

    """

    def __init__(self, folder: Path) -> None:
        """Start it."""
        if (program := find_program()) is None:
            sys.exit("no server of Valkey or Redis is installed")
        with closing(socket.socket()) as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._command = [
            str(program),
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--dir",
            str(folder),
            "--save",
            "",
        ]
        self.process = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        """Start it, empty."""
        self.process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        return self.process

    def end(self) -> None:
        """End it as a crash does."""
        self.process.kill()
        self.process.wait()


Call = tuple[float, str]  # how long it took, in ms, and its code


async def times(call: Callable[[], Awaitable[Any]], count: int = CALLS) -> list[Call]:
    """Return how long each of some calls took, one after the other."""
    found = []
    for _ in range(count):
        began, code = time.perf_counter(), "OK"
        try:
            await call()
        except grpc.aio.AioRpcError as error:
            code = error.code().name
        found.append(((time.perf_counter() - began) * 1000, code))
        await asyncio.sleep(PAUSE_SECONDS)
    return found


def told(calls: list[Call]) -> dict[str, Any]:
    """Return what a table says of some calls."""
    codes = [code for _, code in calls]
    latencies = sorted(took for took, _ in calls)
    return {
        "p50_ms": statistics.median(latencies),
        "max_ms": latencies[-1],
        "codes": {code: codes.count(code) for code in sorted(set(codes))},
    }


async def measure() -> dict[str, Any]:
    """Return the waits in each state of the store.

    Raises:
        TimeoutError: The store was not used again after it was back.

    """
    stubs, messages = (importlib.import_module(f"order_service.v1.order_pb2{kind}") for kind in ("_grpc", ""))
    application = importlib.import_module("order_service.app").APPLICATION
    delay = [0.0]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        valkey = Valkey(folder)
        overrides = {
            "listen": {"address": "127.0.0.1:0", "admin_address": "127.0.0.1:0"},
            "load": {"adaptive": False},
            "logging": {"level": "error"},
            "quotas": {"default": {"calls": 1_000_000, "period_seconds": 1}},
            "quota_store_failure": "open",
            "revocation": {"refuse_when_shared_stale": False},
        }
        (folder / "service").mkdir()
        try:
            async with relayed(valkey.port, delay) as port:
                state = {"redis_url": f"redis://127.0.0.1:{port}", "timeout_seconds": TIMEOUT_SECONDS}
                async with run_service(application, folder / "service", {**overrides, "state": state}) as service:
                    stub = stubs.OrderServiceStub(service.client_as("alice"))

                    async def needs() -> None:
                        await stub.CreateOrder(messages.CreateOrderRequest(tenant="acme", title="first"))

                    async def may_do_without() -> None:
                        await stub.GetOrder(messages.GetOrderRequest(tenant="acme", id=known))

                    created = await stub.CreateOrder(messages.CreateOrderRequest(tenant="acme", title="first"))
                    known = created.order.id
                    return await _states(valkey, delay, {"nonce": needs, "quota": may_do_without})
        finally:
            valkey.end()


async def _states(
    valkey: Valkey, delay: list[float], kinds: dict[str, Callable[[], Awaitable[None]]]
) -> dict[str, Any]:
    rows: dict[str, Any] = {}

    async def row(state: str) -> None:
        rows[state] = {kind: told(await times(call)) for kind, call in kinds.items()}

    async def back() -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            for call in kinds.values():
                while [code for _, code in await times(call, 1)] != ["OK"]:
                    pass

    await row("answers")
    delay[0] = DELAY_SECONDS
    await row(f"is {DELAY_SECONDS * 1000:.0f} ms late")
    delay[0] = 0.0
    valkey.process.send_signal(signal.SIGSTOP)
    await row("hangs")
    valkey.process.send_signal(signal.SIGCONT)
    await back()
    valkey.end()
    await row("is gone")
    valkey.start()
    await back()
    await row("is back, empty")
    return {"rows": rows, "timeout_ms": TIMEOUT_SECONDS * 1000}


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):  # the server's log
        results = uvloop.run(measure())
    json.dump(results, sys.stdout)
