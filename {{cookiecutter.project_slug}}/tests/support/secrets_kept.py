"""A servicer that answers with what it is told, and the keyrings that keep that from those on the way."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from secure_rpc.confidential import KeyringFile, new_key, save

from probe.v1 import probe_pb2 as pb
from probe.v1 import probe_pb2_grpc

KEEP = "/probe.v1.SecretService/Keep"


@dataclass
class Keeper(probe_pb2_grpc.SecretServiceServicer):
    """Echoes, and remembers what its handlers saw."""

    seen: list[pb.Secret] = field(default_factory=list)

    async def Keep(self, request: pb.Secret, _context: Any) -> pb.Secret:
        self.seen.append(request)
        return request

    async def KeepEach(self, request_iterator: AsyncIterator[pb.Secret], _context: Any) -> AsyncIterator[pb.Secret]:
        async for request in request_iterator:
            self.seen.append(request)
            yield request

    async def KeepOnce(self, request: pb.Secret, context: Any) -> pb.Secret:
        return await self.Keep(request, context)

    def add(self, server: Any) -> None:
        """Add the servicer."""
        probe_pb2_grpc.add_SecretServiceServicer_to_server(self, server)


def secret() -> pb.Secret:
    """Return a message with something in each sensitive field."""
    return pb.Secret(
        label="card of alice",
        card="4111111111111112",  # no card's: a stage of the service may refuse those
        spare_card="",
        keys=[b"one-secret", b""],
        purse=pb.Purse(content=b"gold-secret", inner=[pb.Purse(content=b"silver-secret")]),
        purses={"a": pb.Purse(content=b"copper-secret")},
        hint="a-secret-hint",
    )


SECRETS = (b"4111111111111112", b"one-secret", b"gold-secret", b"silver-secret", b"copper-secret")


def write_keyring(path: Path, *key_ids: str, active: str = "") -> Path:
    """Write a keyring with new keys; the last one is active unless said otherwise."""
    save(path, KeyringFile(active=active or key_ids[-1], keys={key_id: new_key()[1] for key_id in key_ids}))
    return path
