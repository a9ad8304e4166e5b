"""A change of what files hold is told once, however they are written; what changes nothing is not told."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from secure_rpc.watching import FileWatch, Notices, read_together, system_notices

NEVER_SECONDS = 3600
SOON_SECONDS = 0.005


class Bell:
    """Notices that a test gives by hand."""

    def __init__(self) -> None:
        self.folders: list[frozenset[Path]] = []
        self.ended = 0
        self.ring: Callable[[], None] = lambda: None

    def __call__(self, folders: frozenset[Path], tell: Callable[[], None]) -> Callable[[], None]:
        self.folders.append(folders)
        self.ring = tell
        return self._end

    def _end(self) -> None:
        self.ended += 1


class Told:
    """Notes what is told, and waits for it."""

    def __init__(self) -> None:
        self._told: asyncio.Queue[set[str]] = asyncio.Queue()
        self.failures = 0

    async def __call__(self, paths: frozenset[Path]) -> None:
        self._told.put_nowait({path.name for path in paths})
        if self.failures:
            self.failures -= 1
            raise ValueError("not today")

    async def next(self) -> set[str]:
        async with asyncio.timeout(10):
            return await self._told.get()

    @property
    def waiting(self) -> int:
        return self._told.qsize()


@asynccontextmanager
async def watched(*paths: Path, told: Told | None = None, **said: Any) -> AsyncIterator[Told]:
    told = told or Told()
    usual: dict[str, Any] = {"poll_seconds": SOON_SECONDS, "settle_seconds": SOON_SECONDS, "notices": None}
    task = asyncio.create_task(FileWatch(paths, **(usual | said)).run(told))
    yield told
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def mount(folder: Path, **contents: str) -> list[Path]:
    """Lay files out as the kubelet does: names that lead through `..data` into a folder of that version."""
    swap(folder, "1", **contents)
    for name in contents:
        (folder / name).symlink_to(Path("..data", name))
    return [folder / name for name in contents]


def swap(folder: Path, version: str, **contents: str) -> None:
    """Put a new version in place, in one step."""
    before = (folder / "..data").resolve()
    (folder / f"..{version}").mkdir()
    for name, content in contents.items():
        (folder / f"..{version}" / name).write_text(content)
    (folder / "..data_new").symlink_to(f"..{version}")
    (folder / "..data_new").replace(folder / "..data")
    if before.name.startswith("..") and before.name != "..data":
        for file in before.iterdir():
            file.unlink()
        before.rmdir()


@pytest.fixture(params=["system", "polling"])
def means(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Return what makes a watch that hears of changes in one way alone."""
    if request.param == "system":
        return {"notices": system_notices, "poll_seconds": NEVER_SECONDS}
    return {"notices": None, "poll_seconds": SOON_SECONDS}


async def heard(told: Told, change: Callable[[int], None]) -> set[str]:
    """Change files until it is told: the system may not listen yet when the first change is made."""
    for number in range(100):
        change(number)
        with suppress(TimeoutError):
            async with asyncio.timeout(0.8):
                return await told.next()
    raise AssertionError("no change is told")


async def test_a_file_written_in_place_is_told(tmp_path: Path, means: dict[str, Any]) -> None:
    file = tmp_path / "a"
    file.write_text("")
    async with watched(file, **means) as told:

        def write(number: int) -> None:
            file.write_text(str(number))

        assert await heard(told, write) == {"a"}


async def test_a_file_that_is_replaced_is_told(tmp_path: Path, means: dict[str, Any]) -> None:
    file = tmp_path / "a"
    file.write_text("")

    def replace(number: int) -> None:
        (tmp_path / "new").write_text(str(number))
        (tmp_path / "new").replace(file)

    async with watched(file, **means) as told:
        assert await heard(told, replace) == {"a"}


async def test_a_swap_of_kubernetes_is_told_again_and_again(tmp_path: Path, means: dict[str, Any]) -> None:
    files = mount(tmp_path, a="1", b="1")
    async with watched(*files, **means) as told:
        for turn in "xy":

            def change(number: int, turn: str = turn) -> None:
                swap(tmp_path, f"{turn}{number}", a=f"{turn}{number}", b="1")

            assert await heard(told, change) == {"a"}


async def test_a_swap_that_changes_one_file_names_that_one_and_one_that_changes_none_is_not_told(
    tmp_path: Path,
) -> None:
    files, bell = mount(tmp_path, a="1", b="1"), Bell()
    async with watched(*files, notices=bell) as told:
        swap(tmp_path, "2", a="1", b="1")
        swap(tmp_path, "3", a="1", b="2")
        assert await told.next() == {"b"}
        assert told.waiting == 0


async def test_files_written_one_after_the_other_are_told_of_together(tmp_path: Path) -> None:
    files = [tmp_path / name for name in "abcd"]
    async with watched(*files, settle_seconds=0.1) as told:
        for file in files:  # in less time than they must rest, and in more altogether
            file.write_text("new")
            await asyncio.sleep(0.04)
        assert await told.next() == {"a", "b", "c", "d"}
        assert told.waiting == 0


async def test_a_file_that_appears_has_changed_and_so_has_one_that_vanishes(tmp_path: Path) -> None:
    file = tmp_path / "a"
    async with watched(file) as told:
        file.write_text("")
        assert await told.next() == {"a"}
        file.unlink()
        assert await told.next() == {"a"}


async def test_a_change_made_between_the_first_look_and_the_watch_is_told(tmp_path: Path) -> None:
    file, told = tmp_path / "a", Told()
    file.write_text("old")
    watch = FileWatch([file], poll_seconds=NEVER_SECONDS, settle_seconds=0)
    file.write_text("new")
    task = asyncio.create_task(watch.run(told))
    assert await told.next() == {"a"}
    task.cancel()


async def test_files_that_never_settle_are_told_of_all_the_same() -> None:
    async with watched(Path("/proc/sys/kernel/random/uuid"), settle_seconds=0) as told:  # another at every look
        assert await told.next() == {"uuid"}


async def test_where_the_change_is_not_taken_up_the_watch_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file, told = tmp_path / "a", Told()
    told.failures = 1
    async with watched(file, told=told):
        for content in ("1", "2"):
            file.write_text(content)
            assert await told.next() == {"a"}
    assert [record.getMessage() for record in caplog.records] == [f"the change of {file} was not taken up"]


async def test_notices_follow_the_links_and_end_with_the_watch(tmp_path: Path) -> None:
    (tmp_path / "mount").mkdir()
    (tmp_path / "1").mkdir()
    (tmp_path / "2").mkdir()
    link, bell = tmp_path / "mount" / "a", Bell()
    link.symlink_to(tmp_path / "1" / "a")
    (tmp_path / "1" / "a").write_text("1")
    (tmp_path / "2" / "a").write_text("2")
    async with watched(link, notices=bell, poll_seconds=NEVER_SECONDS) as told:
        while not bell.folders:  # noqa: ASYNC110  # the watch begins in a moment
            await asyncio.sleep(0)
        (tmp_path / "mount" / "b").symlink_to(tmp_path / "2" / "a")
        (tmp_path / "mount" / "b").replace(link)
        bell.ring()
        assert await told.next() == {"a"}
        bell.ring()
        async with asyncio.timeout(10):
            while len(bell.folders) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0)
    assert bell.folders == [frozenset({tmp_path / "mount", tmp_path / number}) for number in "12"]
    assert bell.ended == 2


async def test_where_the_system_tells_nothing_changes_are_found_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "a"

    def deaf(_folders: frozenset[Path], tell: Callable[[], None]) -> Callable[[], None]:
        return system_notices(frozenset({tmp_path / "missing"}), tell)

    notices: Notices = deaf
    async with watched(file, notices=notices) as told:
        file.write_text("new")
        assert await told.next() == {"a"}
        async with asyncio.timeout(10):
            while not caplog.records:  # noqa: ASYNC110  # from another thread
                await asyncio.sleep(0.01)
    [record] = caplog.records
    assert record.getMessage().startswith(f"the system tells of no changes in {tmp_path / 'missing'}, they are found")


def test_files_that_belong_together_are_read_from_one_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = mount(tmp_path, a="1", b="1")

    reads: list[Path] = []
    read_bytes = Path.read_bytes

    def read_and_swap(path: Path) -> bytes:
        reads.append(path)
        if len(reads) == 2:  # the second of the two files, for the first time
            swap(tmp_path, "2", a="2", b="2")
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", read_and_swap)
    assert list(read_together(files).values()) == [b"2", b"2"]


def test_reading_files_together_says_which_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        read_together([tmp_path / "a"])
    assert os.fspath(tmp_path / "a") in str(caught.value)


async def test_other_files_can_be_looked_at_from_inside_of_a_change(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_text("")
    second.write_text("")
    watch = FileWatch([first], poll_seconds=SOON_SECONDS, settle_seconds=SOON_SECONDS, notices=None)
    told: asyncio.Queue[set[str]] = asyncio.Queue()

    async def on_change(paths: frozenset[Path]) -> None:
        watch.look_at([second])
        told.put_nowait({path.name for path in paths})

    task = asyncio.create_task(watch.run(on_change))
    async with asyncio.timeout(10):
        first.write_text("changed")
        assert await told.get() == {"first"}
        first.write_text("changed again")
        second.write_text("changed")
        assert await told.get() == {"second"}
    task.cancel()
