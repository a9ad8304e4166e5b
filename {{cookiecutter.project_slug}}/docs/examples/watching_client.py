"""A client that watches for ever, through new tokens, certificates and servers; docs/streams.md explains it."""

from collections.abc import Awaitable, Callable

import grpc

from secure_rpc.client_streams import KeptStream

from {{ cookiecutter.package_name }}.v1 import {{ cookiecutter.__resource_file }}_pb2 as pb
from {{ cookiecutter.package_name }}.v1 import {{ cookiecutter.__resource_file }}_pb2_grpc as pb_grpc


async def watch(
    channel: grpc.aio.Channel,
    tenant: str,
    see_to: Callable[[pb.Watch{{ cookiecutter.resource_plural }}Response], Awaitable[None]],
    after: int = 0,
) -> None:
    """See to each change once; kept together with what comes of it, its number is where to go on another day."""
    stub = pb_grpc.{{ cookiecutter.resource_name }}ServiceStub(channel)
    changes: KeptStream[pb.Watch{{ cookiecutter.resource_plural }}Response] = KeptStream(
        channel,
        lambda cursor: stub.Watch{{ cookiecutter.resource_plural }}(
            pb.Watch{{ cookiecutter.resource_plural }}Request(tenant=tenant, after=cursor),
        ),
        lambda change: change.sequence,
        after=after,
    )
    async with changes:
        async for change in changes:
            await see_to(change)
