"""From logs to a sink, at least once: what was handed over is noted in a file, and nothing before it was."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from secure_rpc.audit.export.sink import Sink, SinkUnavailable
from secure_rpc.audit.files import replace
from secure_rpc.audit.following import Follower, Position
from secure_rpc.configuration import ConfigurationError

BATCH_RECORDS = 500
LOOK_SECONDS = 0.5  # for new records
FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 0.5, 30.0  # before a sink that is away is tried again

logger = logging.getLogger(__name__)


class Positions:
    """Up to where each log was handed over, in a file.

    Args:
        path: the file, which need not be there.

    Raises:
        ConfigurationError: it is there, and cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, Position] = {}
        try:
            content = orjson.loads(path.read_bytes())
            self._known = {name: Position(str(chain), int(number)) for name, (chain, number) in content.items()}
        except FileNotFoundError:
            return
        except OSError as error:
            raise ConfigurationError(f"{path}: cannot be read ({error.strerror}); check the path") from None
        except (ValueError, TypeError, AttributeError):
            raise ConfigurationError(f"{path}: holds no positions; remove it, and all is sent again") from None

    def of(self, log: Path) -> Position:
        """Return up to where a log was handed over."""
        return self._known.get(log.name, Position())

    def note(self, positions: Mapping[Path, Position]) -> None:
        """Note what was handed over, for good.

        Raises:
            ConfigurationError: it cannot be written.
        """
        self._known |= {log.name: position for log, position in positions.items()}
        try:
            replace(self._path, orjson.dumps({name: list(known) for name, known in self._known.items()}) + b"\n")
        except OSError as error:
            raise ConfigurationError(f"{self._path}: cannot be written ({error.strerror}); check the path") from None


class Exporter:
    """Hand over the records of logs.

    Args:
        logs: gives those to read; there may be more later on.
        sink: takes the records.
        positions: up to where.
        identity: opens sealed files.
    """

    def __init__(
        self,
        logs: Callable[[], Sequence[Path]],
        sink: Sink,
        positions: Positions,
        identity: X25519PrivateKey | None = None,
    ) -> None:
        self._logs = logs
        self._followers: dict[Path, Follower] = {}
        self._sink = sink
        self._positions = positions
        self._identity = identity
        self.stopping = threading.Event()

    def run(self, *, once: bool = False) -> int:
        """Hand over until told to stop, and return how many records were.

        Args:
            once: whether to return when nothing is left.

        Raises:
            ConfigurationError: a log cannot be read.
            SinkUnavailable: with `once`, the sink took not all.
        """
        count = 0
        while not self.stopping.is_set():
            for log in self._logs():
                if log not in self._followers:
                    self._followers[log] = Follower(log, self._positions.of(log), self._identity)
            sent = sum(self._step(log, follower, once=once) for log, follower in self._followers.items())
            count += sent
            if not sent:
                if once:
                    break
                self.stopping.wait(LOOK_SECONDS)
        return count

    def close(self) -> None:
        """Close the logs and the sink."""
        for follower in self._followers.values():
            follower.close()
        self._sink.close()

    def _step(self, log: Path, follower: Follower, *, once: bool) -> int:
        lines = follower.read(BATCH_RECORDS)
        if not lines:
            return 0
        self._tell_gap(log, lines[0].content)
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                self._sink.send(lines)
                break
            except SinkUnavailable as error:
                if once:
                    raise
                logger.error("%d audit records wait to be sent, again in %.1f s: %s", len(lines), pause, error)  # noqa: TRY400
            if self.stopping.wait(pause):
                return 0
            pause = min(2 * pause, MAX_PAUSE_SECONDS)
        last = lines[-1].content
        self._positions.note({log: Position(last["chain"], last["seq"])})
        return len(lines)

    def _tell_gap(self, log: Path, first: Mapping[str, Any]) -> None:
        """Say so where records were retired before they were sent."""
        before = self._positions.of(log)
        if before.chain == first["chain"] and first["seq"] > before.sequence + 1:
            logger.error(
                "%s: lines %d to %d were retired before they were sent", log, before.sequence + 1, first["seq"] - 1
            )
