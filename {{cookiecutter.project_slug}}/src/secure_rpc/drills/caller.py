"""Single calls of a drill: how each one ended."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor

from secure_rpc.client import connect
from secure_rpc.drills.ground import Ground
from secure_rpc.drills.plan import Plan
from secure_rpc.drills.traffic import start_call, told_by
from secure_rpc.token_sources import TokenSource

ANSWERED = frozenset({"OK", "NOT_FOUND"})  # a handler was reached
DEADLINE_SECONDS = 5.0
PAUSE_SECONDS = 0.2  # between two calls that are made all the while


class Caller:
    """Calls the service as somebody.

    Args:
        plan: whose methods and requests.
        ground: the service.
    """

    def __init__(self, plan: Plan, ground: Ground) -> None:
        self._plan = plan
        self._ground = ground
        self._open = AsyncExitStack()

    def channel(
        self,
        token: TokenSource | None = None,
        certificate: tuple[Path, Path] | None = None,
    ) -> grpc.aio.Channel:
        """Return a channel.

        Args:
            token: gives what is sent with a call; the usual one if not given.
            certificate: and its key; those of development if not given.
        """
        files = self._ground.files
        certificate_file, key_file = certificate or (files.client_certificate, files.client_key)
        channel = connect(
            self._ground.target,
            certificate_file=certificate_file,
            key_file=key_file,
            ca_file=files.ca_certificate,
            services=list({method.containing_service for method in self._plan.every_method}),
            token=token or (lambda: self._ground.token),
            audience=self._ground.settings.service.name,
            deadline_seconds=DEADLINE_SECONDS,
        )
        self._open.push_async_callback(channel.close)
        return channel

    def bare_channel(self, certificate: tuple[Path, Path] | None = None, target: str = "") -> grpc.aio.Channel:
        """Return a channel of gRPC's own, which adds nothing to a call but the usual token.

        Args:
            certificate: and its key; those of development if not given.
            target: "host:port"; the service's own if not given.
        """
        files = self._ground.files
        certificate_file, key_file = certificate or (files.client_certificate, files.client_key)
        credentials = grpc.ssl_channel_credentials(
            files.ca_certificate.read_bytes(), key_file.read_bytes(), certificate_file.read_bytes()
        )
        token = grpc.access_token_call_credentials(self._ground.token)
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
        channel = grpc.aio.secure_channel(
            target or self._ground.target, grpc.composite_channel_credentials(credentials, token), options
        )
        self._open.push_async_callback(channel.close)
        return channel

    async def told(
        self,
        channel: grpc.aio.Channel,
        method: MethodDescriptor | None = None,
        metadata: Sequence[tuple[str, str | bytes]] = (),
    ) -> str:
        """Return how a call ended: "OK", or its status and the reason.

        Args:
            channel: it is made on.
            method: the usual one if not given.
            metadata: sent along.
        """
        method = method or self._plan.unary()
        call: Any = start_call(channel, method)(self._plan.request_for(method), metadata=list(metadata))
        try:
            await call
        except grpc.aio.AioRpcError as error:
            return told_by(error)
        return "OK"

    async def answered(self, channel: grpc.aio.Channel) -> bool:
        """Tell whether the usual call reaches its handler."""
        return (await self.told(channel)).partition(" ")[0] in ANSWERED

    async def keep_calling(self, channels: Sequence[grpc.aio.Channel]) -> str:
        """Make the usual call at a steady pace until cancelled; return how those ended that were not answered.

        Args:
            channels: they are made on, in turn.
        """
        refused: set[str] = set()
        with suppress(asyncio.CancelledError):
            while True:
                for channel in channels:
                    ended = await self.told(channel)
                    if ended.partition(" ")[0] not in ANSWERED:
                        refused.add(ended)
                    await asyncio.sleep(PAUSE_SECONDS)
        return ", ".join(sorted(refused))

    async def close(self) -> None:
        """Close all channels."""
        await self._open.aclose()
