"""What many live streams cost a server: memory for each, and what is felt when all of them are judged again.

Run by the service's own Python, as a module, from the service's folder; prints JSON. The callers are a process of
their own. Each stream is another user's, as many as the server remembers, so no two share a decision.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import importlib
import json
import logging
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secure_rpc.tls import floor

floor.establish()

import grpc  # noqa: E402
import structlog  # noqa: E402
import uvloop  # noqa: E402
from secure_rpc import memory  # noqa: E402
from secure_rpc import settings as settings_module  # noqa: E402
from secure_rpc.configuration import read_yaml  # noqa: E402
from secure_rpc.dev.issuer import Caller  # noqa: E402
from secure_rpc.dev.setup import DevelopmentFiles, token_issuer  # noqa: E402
from secure_rpc.policy.document import parse  # noqa: E402
from secure_rpc.policy.engine import Engine  # noqa: E402
from secure_rpc.server import Server  # noqa: E402
from secure_rpc.testing.service import merged  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

METHOD = "/order_service.v1.OrderService/SyncOrders"
CONFIG = Path("build/benchmark.yaml")
CERTIFICATES = Path(".dev")
STREAMS_OF_A_CONNECTION = 500
OPENED_AT_ONCE = 100
TICK_SECONDS = 0.001
QUIET_SECONDS = 3.0  # after the last stream was opened
OPENING_SECONDS = 300.0
PAGE_BYTES = 4096


async def call(target: str, tokens: list[str]) -> None:
    """Open a stream with each token and hold it until standard input ends."""
    files = [(CERTIFICATES / name).read_bytes() for name in ("ca.pem", "client.key", "client.pem")]
    credentials = grpc.ssl_channel_credentials(*files)
    options = [("grpc.use_local_subchannel_pool", 1)]
    channels: list[grpc.aio.Channel] = []
    calls: list[Any] = []
    for number, token in enumerate(tokens):
        if number % STREAMS_OF_A_CONNECTION == 0:
            channels.append(grpc.aio.secure_channel(target, credentials, options))
        calls.append(channels[-1].stream_stream(METHOD)(metadata=(("authorization", f"Bearer {token}"),)))
        if number % OPENED_AT_ONCE == OPENED_AT_ONCE - 1:
            await asyncio.gather(*(each.initial_metadata() for each in calls[-OPENED_AT_ONCE:]))
    await asyncio.to_thread(sys.stdin.read)


async def measure(count: int, rounds: int) -> dict[str, Any]:
    """Return what so many streams cost.

    Raises:
        AssertionError: A stream was not opened, or was ended.

    """
    server = _server(count)
    await server.start()
    platform = server.platform
    memory.settle()  # as a server does before it serves
    before = _resident_bytes()
    tokens = _write_tokens(server, count)
    client = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.streams", "--call", f"127.0.0.1:{server.port}", "--tokens", str(tokens),
        stdin=asyncio.subprocess.PIPE,
    )  # fmt: skip
    started = time.perf_counter()
    async with asyncio.timeout(OPENING_SECONDS):
        while len(platform.sessions) < count:  # noqa: ASYNC110  # they tell nobody
            await asyncio.sleep(0.05)
    opening_seconds = time.perf_counter() - started
    await asyncio.sleep(QUIET_SECONDS)
    gc.collect()
    bytes_of_each = (_resident_bytes() - before) / count
    text = platform.settings.authorization.policy_file.read_text(encoding="utf-8")
    document = parse(platform.settings.authorization.policy_file, text)

    async def judge_anew() -> None:
        engine = Engine.of(document, platform.policy._conditions)  # noqa: SLF001  # what a reload does, without reading
        platform.active_policy.swap(engine)
        assert await platform.live.review() == 0  # noqa: S101

    async def judge_in_turn() -> None:
        for _ in range(100):  # ten seconds of a minute
            platform.live.review_some(-(-count // 600))
            await asyncio.sleep(0)

    async def nothing() -> None:
        await asyncio.sleep(1)

    ways: dict[str, Callable[[], Awaitable[None]]] = {
        "another policy": judge_anew, "from time to time": judge_in_turn, "nothing": nothing,
    }  # fmt: skip
    found: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, work in ways.items():
            found[name].append(await _felt(work))
    assert len(platform.sessions) == count  # noqa: S101
    assert client.stdin is not None  # noqa: S101
    client.stdin.close()
    await client.wait()
    await server.stop(drain=False)
    return {"streams": count, "bytes_of_each": bytes_of_each, "opening_seconds": opening_seconds, "judged": found}


def _server(count: int) -> Server:
    application = importlib.import_module("order_service.app").APPLICATION
    data = read_yaml(CONFIG).data
    room = 2 * count
    load = {"max_concurrent_calls": room, "max_concurrent_calls_per_peer": room}
    over = {
        "load": load, "limits": {"max_concurrent_streams": room}, "workers": 1,
        "authentication": {"remembered_identities": room}, "sessions": {"review_seconds": 0},
    }  # fmt: skip
    return Server(application, settings_module.Settings(**merged(data, over)))


def _write_tokens(server: Server, count: int) -> Path:
    issuer = token_issuer(server.settings, DevelopmentFiles(CERTIFICATES))
    file = Path("build/tokens.txt")
    callers = (Caller(subject=f"user-{number}", tenants=("acme",), groups=("writers",)) for number in range(count))
    file.write_text("\n".join(map(issuer.token, callers)), encoding="ascii")
    return file


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * PAGE_BYTES


async def _felt(work: Callable[[], Awaitable[None]]) -> dict[str, float]:
    """Return how long a work took, and the longest that another task had to wait beside it, or the loop worked."""
    waits: list[tuple[float, float]] = []
    ticking = asyncio.create_task(_tick(waits))
    await asyncio.sleep(0.1)
    started = time.perf_counter()
    await work()
    seconds = time.perf_counter() - started
    await asyncio.sleep(0.1)
    ticking.cancel()
    stalls, works = zip(*waits, strict=True)
    return {"seconds": seconds, "stall_ms": max(stalls) - TICK_SECONDS * 1e3, "work_ms": max(works)}


async def _tick(waits: list[tuple[float, float]]) -> None:
    wall, worked = time.perf_counter_ns(), time.thread_time_ns()
    while True:
        await asyncio.sleep(TICK_SECONDS)
        wall_before, worked_before = wall, worked
        wall, worked = time.perf_counter_ns(), time.thread_time_ns()
        waits.append(((wall - wall_before) / 1e6, (worked - worked_before) / 1e6))


def main() -> None:
    """Measure, print JSON; or call."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--call", default="", help="open streams there instead")
    parser.add_argument("--tokens", type=Path, default=Path())
    arguments = parser.parse_args()
    if arguments.call:
        uvloop.run(call(arguments.call, arguments.tokens.read_text(encoding="ascii").splitlines()))
        return
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    found = uvloop.run(measure(arguments.streams, arguments.rounds))
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
