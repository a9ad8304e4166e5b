"""Those who take part in a story: each has a certificate of its own, our client, and tokens as it gets them."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc

from secure_rpc.client import connect
from secure_rpc.dev.authority import Leaf, server_request
from secure_rpc.token_sources import TokenSource

from probe.v1 import probe_pb2 as pb
from support.processes import PROBE_SERVICES
from support.target import AUDIENCE, TRUST_DOMAIN, Target
from support.world import Ending


class Party:
    """Somebody who calls a service.

    Args:
        target: the service.
        channel: to it, which shows certificate and token.
        files: of the certificate, its key, and the CAs that are trusted.
    """

    def __init__(self, target: Target, channel: grpc.aio.Channel, files: tuple[Path, Path, Path]) -> None:
        self.target = target
        self.channel = channel
        self.files = files

    def call(self, shape: str, *asks: pb.Ask, **options: Any) -> Any:
        """Begin a call; an open one (`open_=True`) says nothing until it is written to."""
        return self.target.call(shape, *asks, channel=self.channel, authorization="", **options)

    async def ask(self, shape: str = "Unary", act: str = "anything", *, tenant: str = "", **options: Any) -> Ending:
        """Make a call of one message, and return how it ended."""
        ask = pb.Ask(act=act, tenant=tenant)
        return await self.target.ask(shape, ask, channel=self.channel, authorization="", **options)


@asynccontextmanager
async def party(
    target: Target,
    workload: str,
    token: TokenSource | None = None,
    *,
    address: str = "",
    leaf: Leaf | None = None,
    **options: Any,
) -> AsyncIterator[Party]:
    """Open the channel of somebody.

    Args:
        target: the service that is called.
        workload: the last part of the caller's SPIFFE ID.
        token: gives the token of each call.
        address: of the service, where it is reached by another way than straight.
        leaf: the caller's certificate; one of the service's own CA where none is given.
        options: of `secure_rpc.client.connect`.
    """
    folder = target.service.files.folder / f"{workload}-{secrets.token_hex(4)}"
    folder.mkdir()
    files = folder / "client.pem", folder / "client.key", folder / "ca.pem"
    (leaf or target.leaf(workload)).write(files[0], files[1])
    files[2].write_bytes(target.service.authority.certificate_pem)
    async with connect(
        address or target.service.target,
        certificate_file=files[0],
        key_file=files[1],
        ca_file=files[2],
        services=PROBE_SERVICES,
        token=token,
        audience=AUDIENCE,
        **options,
    ) as channel:
        yield Party(target, channel, files)


def neighbour(target: Target, folder: Path, name: str) -> Path:
    """Return the folder of a service beside another: the same CA and issuer of tokens, a certificate of its own."""
    folder.mkdir()
    shutil.copytree(target.service.files.folder, folder / "dev", ignore=shutil.ignore_patterns("*-*"))
    leaf = target.service.authority.issue(server_request(name, TRUST_DOMAIN))
    leaf.write(folder / "dev" / "server.pem", folder / "dev" / "server.key")
    return folder


def workload_id(name: str, trust_domain: str = TRUST_DOMAIN) -> str:
    """Return the SPIFFE ID of a workload."""
    return f"spiffe://{trust_domain}/client/{name}"


def refusals(target: Target, reason: str) -> float:
    """Return how many calls were refused for a reason, as the operator's metric has it."""
    metrics = target.service.server.platform.metrics
    metrics.render()  # what is kept for later is counted now
    return sum(
        sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == "secure_rpc_refusals_total" and sample.labels["reason"] == reason
    )
