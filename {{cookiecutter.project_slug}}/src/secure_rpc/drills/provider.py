"""An issuer's server of a drill's own: its keys and what it says of opaque tokens, over TLS, and how it fails."""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson

from secure_rpc.dev.authority import Authority, server_request
from secure_rpc.dev.issuer import Caller, TokenIssuer
from secure_rpc.dev.setup import token_issuer
from secure_rpc.drills.ground import Copy

KEYS_PATH, ASK_PATH = "/jwks", "/introspect"
MAX_BODY_BYTES = 65_536


class Provider:
    """The server.

    Args:
        caller: whom it takes an opaque token for, whatever it says.
    """

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port: int = free.getsockname()[1]
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._issuer: TokenIssuer
        self._server: asyncio.Server | None = None
        self._under_way: set[asyncio.Task[None]] = set()
        self._in_time = asyncio.Event()
        self._in_time.set()
        self.held = 0  # requests that wait for an answer just now

    @property
    def keys_url(self) -> str:
        """Return where its JWKS is."""
        return f"https://localhost:{self._port}{KEYS_PATH}"

    @property
    def ask_url(self) -> str:
        """Return where it is asked about tokens."""
        return f"https://localhost:{self._port}{ASK_PATH}"

    async def settle(self, copy: Copy) -> None:
        """Take the name and the keys of the development issuer, get a certificate, and answer from now on."""
        files, settings = copy.files, copy.settings
        self._issuer = token_issuer(settings, files)
        authority = Authority.load(files.intermediate_certificate, files.intermediate_key)
        pair = copy.folder / "provider.pem", copy.folder / "provider.key"
        authority.issue(server_request("provider", settings.authentication.trust_domain)).write(*pair)
        self._context.load_cert_chain(*pair)
        await self.start()

    async def start(self) -> None:
        """Answer."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self._port, ssl=self._context)

    def slow_down(self) -> None:
        """Hold each request from now on, for as long as its client waits."""
        self._in_time.clear()

    def hurry(self) -> None:
        """Answer in time again."""
        self._in_time.set()

    async def end(self) -> None:
        """Be gone: nothing listens, and connections are cut."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    def keys(self, folder: Path) -> Path:
        """Return a file with what it gives out as its JWKS, as somebody has kept it."""
        kept = folder / "kept-jwks.json"
        kept.write_bytes(orjson.dumps(self._issuer.jwks()))
        return kept

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                while True:
                    writer.write(await self._answer(reader))
                    await writer.drain()
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader) -> bytes:
        """Read one request, and return its answer (RFC 9112)."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        lengths = [line.partition(":")[2] for line in head if line.lower().startswith("content-length:")]
        await reader.readexactly(min(int(lengths[0]), MAX_BODY_BYTES) if lengths else 0)
        self.held += 1
        try:
            await self._in_time.wait()
        finally:
            self.held -= 1
        body = orjson.dumps(self._document(head[0].split(" ")[1]))
        return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body

    def _document(self, path: str) -> dict[str, Any]:
        if path == KEYS_PATH:
            return self._issuer.jwks()
        return {"active": True, **self._issuer.claims(self._caller)}
