"""While the disk fails, those who wait are told, and records are kept until it is back."""

from __future__ import annotations

import asyncio
import os
import resource
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import pytest

from secure_rpc.audit import chain_log
from secure_rpc.audit.chain_log import ChainLog
from secure_rpc.audit.files import anchor_of
from secure_rpc.audit.verify import verify
from secure_rpc.configuration import ConfigurationError
from secure_rpc.observing import CallRecord

MakeRecord = Callable[..., CallRecord]
FULL = Path("/dev/full")
needs_a_full_disk = pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")


@dataclass
class World:
    """A log, what it told of its writes, and a disk that fills up when told to."""

    path: Path
    written: list[int] = field(default_factory=list)
    failures: list[OSError] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.first_written = asyncio.Event()
        self.log = ChainLog(self.path, on_written=self._note, on_failure=self.failures.append)

    def _note(self, count: int) -> None:
        self.written.append(count)
        self.first_written.set()

    def fill_disk(self) -> None:
        self._replace_file(os.open(FULL, os.O_WRONLY))

    def free_disk(self) -> None:
        self._replace_file(os.open(self.path, os.O_WRONLY | os.O_APPEND))

    def _replace_file(self, descriptor: int) -> None:
        os.dup2(descriptor, self.log._writer.file)
        os.close(descriptor)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path / "audit.log")
    yield made
    await asyncio.wait_for(made.log.close(), 5)


def lost_in(path: Path) -> int:
    return sum(orjson.loads(line).get("lost_before", 0) for line in path.read_bytes().splitlines())


async def test_many_who_wait_share_one_write(world: World, record: MakeRecord) -> None:
    async def call(number: int) -> None:
        world.log.add(record(number))
        await world.log.durable()
        assert verify(world.path).records > 0

    await asyncio.gather(*(call(number) for number in range(100)))
    assert sum(world.written) == 100
    assert len(world.written) <= 2


async def test_what_was_added_is_on_disk_when_durable_returns(world: World, record: MakeRecord) -> None:
    for number in range(300):
        world.log.add(record(number))
    await world.log.durable()
    assert verify(world.path).records == 300


async def test_durable_returns_at_once_when_nothing_is_waiting(world: World) -> None:
    await world.log.durable()
    assert world.written == []


async def test_records_reach_the_disk_also_when_nobody_waits(world: World, record: MakeRecord) -> None:
    world.log.add(record())
    await asyncio.wait_for(world.first_written.wait(), 5)
    assert verify(world.path).records == 1


@needs_a_full_disk
async def test_all_who_wait_are_woken_with_the_error(world: World, record: MakeRecord) -> None:
    world.fill_disk()
    world.log.add(record())
    async with asyncio.timeout(5):
        outcomes = await asyncio.gather(*(world.log.durable() for _ in range(20)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [OSError] * 20
    assert world.log.failing
    assert world.failures
    world.free_disk()


@needs_a_full_disk
async def test_records_are_kept_and_written_when_the_disk_is_back(world: World, record: MakeRecord) -> None:
    world.log.add(record(0))
    await world.log.durable()
    world.fill_disk()
    for number in range(1, 4):
        world.log.add(record(number))
        with pytest.raises(OSError, match="No space left"):
            await world.log.durable()
    assert verify(world.path).records == 1
    world.free_disk()
    world.log.add(record(4))
    await world.log.durable()
    assert not world.log.failing
    assert (verify(world.path).whole, verify(world.path).records) == (True, 5)
    assert sum(world.written) == 5


@needs_a_full_disk
async def test_the_log_says_once_that_it_cannot_write(
    world: World, record: MakeRecord, caplog: pytest.LogCaptureFixture
) -> None:
    world.fill_disk()
    for number in range(5):
        world.log.add(record(number))
        with pytest.raises(OSError, match="No space left"):
            await world.log.durable()
    assert len(world.failures) == 5
    assert [entry.getMessage() for entry in caplog.records] == [
        f"audit records cannot be written to {world.path}: [Errno 28] No space left on device"
    ]
    world.free_disk()


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Let no file of this process grow past a size: a write is then cut off amid a line, and the next one fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_half_a_line_does_not_stay_when_a_write_is_cut_off(world: World, record: MakeRecord) -> None:
    before = world.path.read_bytes()
    world.log.add(record(1))
    with file_size_limit(len(before) + 100):
        with pytest.raises(OSError, match="File too large"):
            await world.log.durable()
        assert world.path.read_bytes() == before
    await world.log.durable()
    assert (verify(world.path).whole, verify(world.path).records) == (True, 1)


async def test_no_line_is_doubled_when_the_anchor_alone_cannot_be_written(world: World, record: MakeRecord) -> None:
    in_its_way = anchor_of(world.path).with_name("audit.log.anchor.new")
    in_its_way.mkdir()
    world.log.add(record(1))
    with pytest.raises(IsADirectoryError):
        await world.log.durable()
    in_its_way.rmdir()
    world.log.add(record(2))
    await world.log.durable()
    assert (verify(world.path).whole, verify(world.path).records) == (True, 2)


@needs_a_full_disk
async def test_what_is_too_much_to_keep_is_lost_and_counted(
    tmp_path: Path, record: MakeRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chain_log, "MAX_WAITING_BYTES", 5000)
    world = World(tmp_path / "audit.log")
    world.fill_disk()
    for number in range(100):
        world.log.add(record(number))
        with pytest.raises(OSError, match="No space left"):
            await world.log.durable()
    assert world.log._waiting_bytes < 6000
    world.free_disk()
    await world.log.close()
    finding = verify(world.path)
    assert finding.whole
    assert 5 < finding.records < 20
    assert finding.records + lost_in(world.path) == 100


@needs_a_full_disk
async def test_closing_on_a_full_disk_ends_all_the_same(tmp_path: Path, record: MakeRecord) -> None:
    world = World(tmp_path / "audit.log")
    world.log.add(record())
    world.fill_disk()
    async with asyncio.timeout(5):
        await world.log.close()
    assert verify(world.path).whole


async def test_who_gives_up_waiting_does_not_disturb_the_others(world: World, record: MakeRecord) -> None:
    world.log.add(record())
    waiting = [asyncio.create_task(world.log.durable()) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[1].cancel()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [type(None), asyncio.CancelledError, type(None)]


@needs_a_full_disk
def test_a_disk_that_is_full_from_the_start_is_told() -> None:
    with pytest.raises(ConfigurationError, match=r"audit.file: /dev/full cannot be written .*No space left"):
        ChainLog(FULL)
