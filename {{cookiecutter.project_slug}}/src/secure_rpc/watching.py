"""Tell when files have changed: written in place, replaced, or swapped as Kubernetes does it, by the `..data` link.

What the system tells of its folders says only when to look; what counts is the content. Where the system tells nothing
(network mounts, no watches left), looking every few seconds finds the same changes, later.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import threading
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

import watchfiles

# Begins to watch folders, calls the function from any thread when something happens in them; returns what ends it
Notices: TypeAlias = Callable[[frozenset[Path], Callable[[], None]], Callable[[], None]]
OnChange: TypeAlias = Callable[[frozenset[Path]], Awaitable[None]]

STEP_MILLISECONDS = 200  # how often the thread that listens to the system wakes; rare, for it takes the GIL to do so
MAX_LOOKS = 50  # at files that go on changing, before they are taken as they are

logging.getLogger("watchfiles").setLevel(logging.WARNING)  # it counts every event in its folders, at "info"
logger = logging.getLogger(__name__)


def system_notices(folders: frozenset[Path], tell: Callable[[], None]) -> Callable[[], None]:
    """Listen to what the operating system tells of folders, on a thread of its own."""
    stop = threading.Event()

    def listen() -> None:
        try:
            for _ in watchfiles.watch(
                *folders,
                watch_filter=None,
                step=STEP_MILLISECONDS,
                debounce=5 * STEP_MILLISECONDS,
                stop_event=stop,
                raise_interrupt=False,
                recursive=False,
            ):
                tell()
        except (OSError, RuntimeError) as error:  # watchfiles' own is a RuntimeError
            logger.warning("the system tells of no changes in %s, they are found later: %s", _names(folders), error)

    threading.Thread(target=listen, name="file notices", daemon=True).start()
    return stop.set


class FileWatch:
    """A look at some files; from here on, each change of what they hold is told.

    Make it before the files are read for the first time, so that no change falls between the two.

    Args:
        paths: of the files. One that is missing may appear, and one that vanishes has changed.
        poll_seconds: how often they are looked at, whatever the system tells.
        settle_seconds: how long they must stay as they are before a change is told, so that files which are
            written one after the other are told of together.
        notices: tells when something happens in a folder; None to look at times alone.
    """

    def __init__(
        self,
        paths: Iterable[Path],
        *,
        poll_seconds: float = 5.0,
        settle_seconds: float = 0.2,
        notices: Notices | None = system_notices,
    ) -> None:
        self._paths = tuple(dict.fromkeys(paths))
        self._poll_seconds = poll_seconds
        self._settle_seconds = settle_seconds
        self._notices = notices
        self._seen = self._look()

    async def run(self, on_change: OnChange) -> None:
        """Tell of changes until cancelled; all reading is done on other threads.

        Args:
            on_change: awaited with the paths that have changed; where it raises, that is logged, and the watch goes on.
        """
        loop, woken = asyncio.get_running_loop(), asyncio.Event()

        def tell() -> None:
            with suppress(RuntimeError):  # the loop is closed, this thread not yet ended
                loop.call_soon_threadsafe(woken.set)

        watched: frozenset[Path] = frozenset()
        end: Callable[[], None] = _nothing
        try:
            while True:
                folders = await asyncio.to_thread(self._folders) if self._notices else watched
                if self._notices and folders != watched:  # a link leads elsewhere now
                    end()
                    watched, end = folders, self._notices(folders, tell)
                if changed := await self._changed():
                    await _call(on_change, changed)
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._poll_seconds):
                        await woken.wait()
                woken.clear()
        finally:
            end()

    async def _changed(self) -> frozenset[Path]:
        """Return what has changed since it was last told, once it has settled."""
        now = await asyncio.to_thread(self._look)
        for _ in range(MAX_LOOKS):
            if now == self._seen:
                break
            await asyncio.sleep(self._settle_seconds)
            before, now = now, await asyncio.to_thread(self._look)
            if now == before:
                break
        changed = frozenset(path for path in self._paths if now[path] != self._seen[path])
        self._seen = now
        return changed

    def _look(self) -> dict[Path, bytes | None]:
        return {path: _digest(path) for path in self._paths}

    def _folders(self) -> frozenset[Path]:
        """Return where something happens when a file changes: beside its name, and beside what the name leads to."""
        found = {folder for path in self._paths for folder in (path.parent.absolute(), path.resolve().parent)}
        return frozenset(folder for folder in found if folder.is_dir())


def read_together(paths: Iterable[Path]) -> dict[Path, bytes]:
    """Return the contents of files that belong together, never one from before a swap and another from after it.

    Raises:
        OSError: one cannot be read.
    """
    paths = tuple(paths)
    contents = {path: path.read_bytes() for path in paths}
    for _ in range(MAX_LOOKS):
        again = {path: path.read_bytes() for path in paths}
        if again == contents:
            break
        contents = again
    return contents


async def _call(on_change: OnChange, changed: frozenset[Path]) -> None:
    try:
        await on_change(changed)
    except Exception:
        logger.exception("the change of %s was not taken up", _names(changed))


def _digest(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return None


def _names(paths: Iterable[Path]) -> str:
    return ", ".join(sorted(map(str, paths)))


def _nothing() -> None:
    pass
