"""A server's certificates in time: read again when their files change, judged, handed to gRPC; the last good ones kept.

Connections that are open live on with what they began with. New ones are served by the certificate of now.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import grpc

from secure_rpc.configuration import ConfigurationError
from secure_rpc.tls.credentials import ServerCertificate, ServerFiles, load
from secure_rpc.tls.soundness import Place
from secure_rpc.watching import FileWatch

# Is told of certificates that were taken up, and of those before them, just before gRPC is
OnChange: TypeAlias = Callable[[ServerCertificate, ServerCertificate], Awaitable[None]]

logger = logging.getLogger(__name__)


async def _nothing(_new: ServerCertificate, _old: ServerCertificate) -> None:
    pass


class CertificateKeeper:
    """Give a server's certificates as their files are.

    Args:
        files: the server's.
        ticket_lifetime_seconds: for how long a client may resume a session, and have its certificate not verified
            again; gRPC is handed the configuration anew as often.
        on_change: told of a change before new connections are served by it.
        on_reload: told after each change of the files whether it was taken up.
        clock: gives Unix time in seconds.

    Raises:
        ConfigurationError: the files are not sound.
    """

    def __init__(
        self,
        files: ServerFiles,
        *,
        ticket_lifetime_seconds: float = 3600.0,
        on_change: OnChange = _nothing,
        on_reload: Callable[[bool], None] = lambda _good: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._files = files
        self._ticket_lifetime_seconds = ticket_lifetime_seconds
        self._on_change = on_change
        self._on_reload = on_reload
        self._clock = clock
        self._watch = FileWatch([place.file for place in files.places])
        self.current = load(files, clock)
        self._offered = self.current.configuration()
        self._is_refused = False  # what the files hold now
        self._loading = asyncio.Lock()

    def grpc_credentials(self, on_handshake: Callable[[], None] = lambda: None) -> grpc.ServerCredentials:
        """Return credentials that follow the files, and ask every client for a certificate.

        Args:
            on_handshake: is called when one begins, on a thread of gRPC's.
        """
        taken: Any = self._offered

        def fetch() -> Any:  # under a mutex of gRPC's, before each handshake: no work here
            nonlocal taken
            on_handshake()
            offered = self._offered
            if offered is taken:
                return None
            taken = offered
            return offered

        return grpc.dynamic_ssl_server_credentials(taken, fetch, require_client_authentication=True)

    async def keep_fresh(self) -> None:
        """Read the files again when they change, and have tickets end, until cancelled."""

        async def reload(_paths: frozenset[Any]) -> None:
            await self.reload()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch.run(reload))
            tasks.create_task(self._end_tickets())

    async def reload(self) -> bool:
        """Read the files now, off the loop; return whether they were taken up."""
        async with self._loading:
            try:
                found = await asyncio.to_thread(load, self._files, self._clock)
                self._check_follows(found)
            except ConfigurationError as error:
                self._is_refused = True
                self._on_reload(False)  # noqa: FBT003
                logger.error("the server's certificates are left as they were: %s", "; ".join(error.problems))  # noqa: TRY400
                return False
            self._is_refused = False
            old, self.current = self.current, found
            try:
                await self._on_change(found, old)
            finally:
                self._offered = found.configuration()
            self._on_reload(True)  # noqa: FBT003
            logger.info(
                "the server's certificate is %x of %s now, valid until %s; %d CAs are trusted",
                found.chain[0].serial_number,
                found.chain[0].issuer.rfc4514_string(),
                f"{found.chain[0].not_valid_after_utc:%Y-%m-%d %H:%M} UTC",
                len(list(found.all_authorities())),
            )
            return True

    def _check_follows(self, found: ServerCertificate) -> None:
        """Refuse a certificate of a CA that is not known, where the one before was of one that is.

        Raises:
            ConfigurationError: it is.
        """
        if self.current.is_signed_by_known and not found.is_signed_by_known:
            issuer = found.chain[-1].issuer.rfc4514_string()
            raise Place("tls.certificate_file", self._files.certificate).refuse(
                f"its CA, {issuer!r}, is not in {self._files.client_ca}, as that of the certificate before is; "
                "add it there first, or start the service anew"
            )

    async def _end_tickets(self) -> None:
        while True:
            await asyncio.sleep(self._ticket_lifetime_seconds)
            self._offered = self.current.configuration()
            if self._is_refused:  # some things mend themselves: a certificate that was not valid yet
                await self.reload()
