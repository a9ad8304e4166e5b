"""Our kernel, serving loop and chain, with no stage in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from secure_rpc.call import Contract
from secure_rpc.chain import Chain
from secure_rpc.serving import pumped_server

from benchmarks.servers.common import add_service, run

if TYPE_CHECKING:
    import grpc


def make() -> grpc.aio.Server:
    """Return the server."""
    chain = Chain([], lambda _path, _descriptor: Contract(public=True))
    add_service(chain)
    server: grpc.aio.Server = pumped_server(chain, [method.path for method in chain.methods])
    return server


def main() -> None:
    """Serve."""
    run(make)
