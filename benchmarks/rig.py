"""Servers that are measured in turns: started, warmed, called by h2load, and ended."""

from __future__ import annotations

import time
from collections import defaultdict
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from benchmarks import load
from benchmarks.calls import Client, calls_counted
from benchmarks.contenders import Contender, Server
from benchmarks.workspace import FailedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from benchmarks.load import Ask
    from benchmarks.measurement import Results, Setting
    from benchmarks.workspace import Workspace

SETTLE_SECONDS = 0.5  # after each run: what was put off is done, and counted
FIRST_CALLS = 2000
ROUNDS_A_GENERATION = 3  # of the same processes


@dataclass(frozen=True, slots=True)
class Sample:
    """What one run against one server gave."""

    cpu_us: float  # of all of its processes, per call
    calls_per_second: float
    client_share: float  # of one core, that the client was busy
    memory_bytes: int = 0  # resident, of all of its processes, after the run


@dataclass(slots=True)
class Rig:
    """A server, its client, and what was measured of it."""

    server: Server
    client: Client
    ask: Ask
    name: str = ""
    calls: int = FIRST_CALLS
    samples: list[Sample] = field(default_factory=list)

    def measure(self, workspace: Workspace) -> Sample:
        """Return what one run costs, its deferred work included.

        Raises:
            FailedError: A call was answered otherwise than it should be, or the server has counted otherwise.

        """
        self.client.check()
        counted = calls_counted(self.server.admin) if self.server.admin else {}
        cpu = self.server.cpu_seconds()
        done = load.apply(workspace, self.server.target, self.ask, self.calls)
        time.sleep(SETTLE_SECONDS)
        cpu = self.server.cpu_seconds() - cpu
        if self.server.admin:
            expected = {**counted, self.ask.status: counted.get(self.ask.status, 0) + done.calls}
            if (counted := calls_counted(self.server.admin)) != expected:
                raise FailedError(f"the server has counted {counted}, not {expected}")
        self.client.check()
        return Sample(
            cpu_us=cpu / done.calls * 1e6,
            calls_per_second=done.calls / done.seconds,
            client_share=done.client_cpu_seconds / done.seconds,
            memory_bytes=self.server.memory_bytes(),
        )


@contextmanager
def running(contender: Contender, workspace: Workspace, client_of: Callable[..., Client] = Client) -> Iterator[Rig]:
    """Start a server, have it keep what will be asked for, and end it afterwards."""
    server = Server(contender, workspace)
    try:
        with _called(server, workspace, client_of) as rig:
            yield rig
    finally:
        server.stop()


@contextmanager
def _called(server: Server, workspace: Workspace, client_of: Callable[..., Client] = Client) -> Iterator[Rig]:
    reader = workspace.token_of("bob")
    client = client_of(workspace, server.target, workspace.token_of("alice"), reader)
    client.create()
    yield Rig(server, client, load.Ask(reader), server.contender.name)
    client.close()


@contextmanager
def in_one_process(contenders: Mapping[str, Contender], workspace: Workspace) -> Iterator[list[Rig]]:
    """Start servers in one process and end it afterwards: what two of them need differs by what they do, and no more.

    Args:
        contenders: What `benchmarks.servers.together` is told of each, and which it is.
        workspace: Where.

    """
    arguments = ("benchmarks.servers.together", *contenders)
    process = Server(Contender("together", "several in one", arguments, servers=len(contenders)), workspace)
    try:
        with ExitStack() as stack:
            yield [stack.enter_context(_called(each, workspace)) for each in process.each([*contenders.values()])]
    finally:
        process.stop()


@contextmanager
def all_running(contenders: Sequence[Contender], workspace: Workspace) -> Iterator[list[Rig]]:
    """Start several servers, and end them afterwards."""
    with ExitStack() as stack:
        yield [stack.enter_context(running(contender, workspace)) for contender in contenders]


def in_turns(rigs: Sequence[Rig], setting: Setting) -> Results:
    """Return the samples of each server by its name, measured round by round."""
    for rig in rigs:  # warm, then as many calls as fill the time
        with setting.status(f"warming up: {rig.name}"):
            for _ in range(2):
                rate = rig.measure(setting.workspace).calls_per_second
                rig.calls = max(FIRST_CALLS, int(rate * setting.seconds))
    for number in range(setting.rounds):
        for rig in turned(rigs, number):
            with setting.status(f"round {number + 1} of {setting.rounds}: {rig.name}"):
                rig.samples.append(rig.measure(setting.workspace))
    return {rig.name: [asdict(sample) for sample in rig.samples] for rig in rigs}


def in_generations(
    start: Callable[[Workspace], AbstractContextManager[Sequence[Rig]]],
    setting: Setting,
    rounds_each: int = ROUNDS_A_GENERATION,
) -> Results:
    """Return the same of servers that are started anew every few rounds.

    Two processes of one program differ by some per cent for as long as they live: by where their memory lies, say.
    """
    found: dict[str, list[Any]] = defaultdict(list)
    left = setting.rounds
    while left > 0:
        rounds = min(rounds_each, left)
        with start(setting.workspace) as rigs:
            for name, samples in in_turns(rigs, replace(setting, rounds=rounds)).items():
                found[name] += samples
        left -= rounds
    return found


def turned(items: Sequence[Any], by: int) -> list[Any]:
    """Return the same in another order: none always comes after the same one."""
    return [*items[by % len(items) :], *items[: by % len(items)]]


def column(samples: Sequence[dict[str, Any]], key: str) -> list[float]:
    """Return one figure of each round."""
    return [sample[key] for sample in samples]
