"""The connection to the store that the replicas share: it answers soon, or says at once that it does not.

A store that is down or hung costs one attempt a second, whoever asks: a circuit breaker refuses all others meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import redis.asyncio as client
from redis.asyncio.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider
from redis.driver_info import DriverInfo
from redis.exceptions import WatchError
from redis.maint_notifications import MaintNotificationsConfig

from secure_rpc.configuration import ConfigurationError
from secure_rpc.state.availability import PAUSE_SECONDS, StoreUnavailable
from secure_rpc.state.connection import State, TlsFiles, read_password
from secure_rpc.state.pool import Pool

FAILURES = 3  # one after the other, from which on the store is left alone for a while
MAX_CONNECTIONS = 64
MAKING_LIMIT = 4  # times the timeout, for a connection: it is opened, greeted and given a database

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Store:
    """A Redis or Valkey server.

    Args:
        settings: say where it is.
        service_name: what keys begin with where the settings name nothing else.
        on_failure: told of each attempt that failed.
        clock: gives seconds that only grow.

    Raises:
        ConfigurationError: a file that the settings name cannot be used.
    """

    def __init__(
        self,
        settings: State,
        service_name: str,
        *,
        on_failure: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.prefix = "{" + (settings.key_prefix or service_name) + "}"  # a hash tag: transactions stay in one slot
        self._timeout_seconds = settings.timeout_seconds
        self._on_failure = on_failure
        self._clock = clock
        self._failures = 0
        self._pause_ends = 0.0
        pool = Pool(
            making_seconds=MAKING_LIMIT * settings.timeout_seconds,
            max_connections=MAX_CONNECTIONS,
            **_options(settings),
        )
        self._client = client.Redis(connection_pool=pool)

    @property
    def is_reachable(self) -> bool:
        """Tell whether the last attempt was answered."""
        return not self._failures

    def key(self, name: str) -> str:
        """Return the key of something of ours."""
        return f"{self.prefix}:{name}"

    async def run(self, command: Callable[[client.Redis], Awaitable[T]], *, answers: int = 1) -> T:
        """Have something done by the store, or not, within the timeout of the settings.

        Args:
            command: is given redis-py's client.
            answers: how many it waits for, one after the other; each has that time.

        Raises:
            StoreUnavailable: it was not done, or it is not known whether it was.
        """
        now = self._clock()
        if self._failures >= FAILURES:
            if now < self._pause_ends:
                raise StoreUnavailable("the shared store has not answered, and is left alone for a moment")
            self._pause_ends = now + PAUSE_SECONDS  # others wait for what this attempt finds
        try:
            async with asyncio.timeout(answers * self._timeout_seconds):
                answer = await command(self._client)
        except WatchError:
            raise  # an answer, too
        except Exception as error:  # whatever a client makes of a hostile or broken store's answer
            self._failures += 1
            self._pause_ends = self._clock() + PAUSE_SECONDS
            self._on_failure()
            told = "nothing in time" if isinstance(error, TimeoutError) else f"{type(error).__name__} {error}"[:200]
            raise StoreUnavailable(f"the shared store does not answer as it should: {told}") from error
        self._failures = 0
        return answer

    async def close(self) -> None:
        """Close all connections."""
        try:
            async with asyncio.timeout(self._timeout_seconds):
                await self._client.aclose()
                await self._client.connection_pool.disconnect()
        except (OSError, TimeoutError) as error:
            logger.debug("the shared store's connections did not close: %s", error)


class _Password(CredentialProvider):
    def __init__(self, username: str, file: Path) -> None:
        self._username = username
        self._file = file

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        password = read_password(self._file)
        return (self._username, password) if self._username else (password,)

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        return await asyncio.to_thread(self.get_credentials)


class _TlsConnection(SSLConnection):
    def __init__(self, *, tls_context: Callable[[], ssl.SSLContext], **options: Any) -> None:
        super().__init__(**options)
        self._tls_context = tls_context

    def _connection_arguments(self) -> Mapping[str, Any]:
        return {"host": self.host, "port": self.port, "ssl": self._tls_context()}


class _SocketConnection(UnixDomainSocketConnection):
    async def _connect(self) -> None:
        async with asyncio.timeout(self.socket_connect_timeout):
            self._reader, self._writer = await asyncio.open_unix_connection(self.path)  # who calls this greets


def _options(settings: State) -> dict[str, Any]:
    options: dict[str, Any] = {
        "socket_timeout": settings.timeout_seconds,
        "socket_connect_timeout": settings.timeout_seconds,
        "retry": Retry(NoBackoff(), 0),  # by default it tries for seconds
        "driver_info": DriverInfo(name="", lib_version=""),  # not announced: an ACL would have to allow that
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
    }
    if settings.socket is not None:
        options |= {"connection_class": _SocketConnection, "path": str(settings.socket)}
    else:
        host, port, database = settings.address
        options |= {"connection_class": Connection, "host": host, "port": port, "db": database}
    if settings.password_file is not None:
        try:
            read_password(settings.password_file)
        except OSError as error:
            raise ConfigurationError(f"state.password_file: cannot be used ({error}); check it") from None
        options["credential_provider"] = _Password(settings.username, settings.password_file)
    if settings.tls:
        options |= {"connection_class": _TlsConnection, "tls_context": TlsFiles(settings).context}
    return options
