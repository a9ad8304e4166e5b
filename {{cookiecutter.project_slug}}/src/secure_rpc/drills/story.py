"""What happens in a drill, in order: calm, a fault, the signal and the alert of it, what helps, calm again."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from secure_rpc.drills import runbooks
from secure_rpc.drills.caller import Caller
from secure_rpc.drills.ground import LOOK_SECONDS, Ground, Settle, prepared
from secure_rpc.drills.plan import Outcome, Plan
from secure_rpc.drills.watching import Watch, watching

T = TypeVar("T")

ALERT_SECONDS = 60.0
END_SECONDS = 90.0  # a quarter of an hour, in the hurry of the rules, and what scrapes take
SIGNAL_SECONDS = 20.0
PREPARE = ". runbooks/shell.sh\nset -euo pipefail"  # as its reader does
HEADER = ("what", "after")


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that has happened."""

    kind: str  # "calm", "fault", "signal", "alert", "remedy", "recovered", "resolved", "problem"
    text: str
    at_seconds: float  # since the drill began


class NotSeenError(Exception):
    """What a drill waits for did not come; the drill is over."""


class Story:
    """One drill under way.

    Args:
        plan: of the drill.
        ground: the service.
        watch: its alerts.
        folder: for files of the drill.
    """

    def __init__(self, plan: Plan, ground: Ground, watch: Watch, folder: Path) -> None:
        self.plan = plan
        self.ground = ground
        self.watch = watch
        self.folder = folder
        self.caller = Caller(plan, ground)
        self.moments: list[Moment] = []
        self.problems: list[str] = []
        self._began = time.monotonic()

    def happened(self, kind: str, text: str) -> None:
        """Note what has happened now."""
        self.moments.append(Moment(kind, text, time.monotonic() - self._began))
        self.plan.say(f"{self.moments[-1].at_seconds:6.1f} s  {kind}: {text}")

    def expect(self, holds: bool, text: str) -> None:  # noqa: FBT001
        """Note a problem where something does not hold."""
        if not holds:
            self.problems.append(text)
            self.happened("problem", text)

    async def calm(self, *alerts: str) -> None:
        """See that the service was scraped, and that none of the alerts fires.

        Raises:
            NotSeenError: one does, or nothing is scraped.
        """
        await self._until(self._is_up, SIGNAL_SECONDS, "the service is not scraped")
        for alert in alerts:
            if await self.watch.firing(alert):
                raise NotSeenError(f"{alert} fires before anything was done")
        self.happened("calm", "all is well, and no alert fires")

    def fault(self, text: str) -> None:
        """Note that the fault is there."""
        self.happened("fault", text)

    async def signal(self, expression: str, text: str) -> None:
        """Wait until a number of the service, as Prometheus has it, says that something is wrong.

        Args:
            expression: above 0 as soon as it does.
            text: what it says.

        Raises:
            NotSeenError: it does not.
        """

        async def is_told() -> bool:
            return await self.watch.value(expression) > 0

        await self._until(is_told, SIGNAL_SECONDS, f"{expression} did not tell")
        self.happened("signal", text)

    async def noticed(self, text: str, check: Callable[[], Awaitable[bool]]) -> None:
        """Wait until the service, which is called meanwhile, says that something is wrong.

        Raises:
            NotSeenError: it does not.
        """
        await self._until(check, SIGNAL_SECONDS, f"it was not noticed that {text}")
        self.happened("signal", text)

    async def alert(self, name: str) -> None:
        """Wait until an alert of the real rules fires.

        Raises:
            NotSeenError: it does not.
        """
        await self._until(lambda: self.watch.firing(name), ALERT_SECONDS, f"the alert {name} did not fire")
        page = (await self.watch.runbook(name)).rpartition("/")[2]
        self.expect(runbooks.exists(page), f"the alert {name} leads to {page}, which is not there")
        self.happened("alert", name)

    async def resolved(self, name: str) -> None:
        """Wait until an alert fires no more.

        Raises:
            NotSeenError: it goes on.
        """

        async def is_over() -> bool:
            return not await self.watch.firing(name)

        await self._until(is_over, END_SECONDS, f"the alert {name} goes on")
        self.happened("resolved", f"{name} fires no more")

    @asynccontextmanager
    async def meanwhile(self, work: Coroutine[Any, Any, T]) -> AsyncIterator[asyncio.Task[T]]:
        """Have something go on while the context lasts, and wait for its end.

        Args:
            work: what goes on.
        """
        task = asyncio.create_task(work)
        try:
            yield task
            await task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def runbook(self, page: str, drill: str, **names: str) -> str:
        """Run the commands that a runbook has for this drill, as they are printed; return what they print.

        Args:
            page: its name, without ".md".
            drill: the name in the block's head.
            names: what the reader puts in: environment variables.

        Raises:
            NotSeenError: it has none, or one of them fails.
        """
        try:
            commands = runbooks.commands(page, drill)
        except (OSError, LookupError) as error:
            raise NotSeenError(f"runbooks/{page}.md has no commands for this drill: {error}") from None
        said = await self.shell(commands, **names)
        self.happened("remedy", f"the commands of runbooks/{page}.md")
        return said

    async def shell(self, commands: str, **names: str) -> str:
        """Run commands in a shell that is prepared as runbooks say.

        Raises:
            NotSeenError: one of them fails.
        """
        environment = {**os.environ, **self.ground.names(), **names}
        # not by the event loop: that forks, and grpc's handlers of a fork can end the child while streams are under way
        process = await asyncio.to_thread(
            subprocess.run, ["bash", "-c", f"{PREPARE}\n{commands}"], cwd=self.ground.folder, env=environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
        said = process.stdout.decode(errors="replace")
        if process.returncode:
            raise NotSeenError(f"the commands of the runbook ended with {process.returncode}: {said[-1500:]}")
        return said

    async def recovered(self, text: str, check: Callable[[], Awaitable[bool]]) -> None:
        """Wait until the service does again what it should.

        Raises:
            NotSeenError: it does not.
        """
        await self._until(check, SIGNAL_SECONDS, f"it did not come to that: {text}")
        self.happened("recovered", text)

    async def _is_up(self) -> bool:
        return bool(await self.watch.value("min(up)"))

    @staticmethod
    async def _until(check: Callable[[], Awaitable[bool]], seconds: float, problem: str) -> None:
        try:
            async with asyncio.timeout(seconds):
                while not await check():  # noqa: ASYNC110  # Prometheus tells nobody
                    await asyncio.sleep(LOOK_SECONDS)
        except TimeoutError:
            raise NotSeenError(f"{problem} within {seconds:g} s") from None

    def outcome(self) -> Outcome:
        """Return what came of it."""
        times = self.times()
        rows = [(f"{each.kind}: {each.text}", f"{each.at_seconds:.1f} s") for each in self.moments]
        rows += [(f"time to {name}", f"{seconds:.1f} s") for name, seconds in times.items()]
        data = {
            "moments": [
                {"kind": each.kind, "text": each.text, "at": round(each.at_seconds, 2)} for each in self.moments
            ],
            "times": {name: round(seconds, 2) for name, seconds in times.items()},
        }
        return Outcome(HEADER, rows, self.problems, data)

    def times(self) -> Mapping[str, float]:
        """Return how long it took from the fault to the alert, and to the end of the fault, in seconds."""
        first = {each.kind: each.at_seconds for each in reversed(self.moments)}
        last = {each.kind: each.at_seconds for each in self.moments}
        if "fault" not in first:
            return {}
        found = {}
        if "alert" in first:
            found["detect"] = first["alert"] - first["fault"]
        if "recovered" in last:
            found["recover"] = last["recovered"] - first["fault"]
        return found


async def told(
    plan: Plan,
    tell: Callable[[Story], Awaitable[None]],
    settings: Mapping[str, Any] | None = None,
    settle: Settle | None = None,
    edge: str = "",
) -> Outcome:
    """Run a drill on a service of its own, with Prometheus beside it.

    Args:
        plan: of the drill.
        tell: what is done.
        settings: those that the drill needs, over those of development.
        settle: prepares what the service depends on; see `prepared`.
        edge: "host:port" of the probes of an edge that the drill has before the service.
    """
    async with _staged(plan, settings or {}, settle, edge) as story:
        try:
            await tell(story)
        except NotSeenError as error:
            story.expect(False, str(error))  # noqa: FBT003
        return story.outcome()


@asynccontextmanager
async def _staged(plan: Plan, settings: Mapping[str, Any], settle: Settle | None, edge: str) -> AsyncIterator[Story]:
    async with (
        prepared(plan, settings, settle) as ground,
        watching(lambda: ground.admin, ground.folder / "prometheus", edge) as watch,
    ):
        folder = ground.folder / "drill"
        folder.mkdir()
        story = Story(plan, ground, watch, folder)
        try:
            yield story
        finally:
            await story.caller.close()
