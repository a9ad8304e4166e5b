"""The RPCs. By the time one of these runs, its caller is known and allowed, and its request is valid."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from secure_rpc import errors

from .store import {{ cookiecutter.resource_name }}Store
from .v1 import {{ cookiecutter.__resource_file }}_pb2 as pb
from .v1 import {{ cookiecutter.__resource_file }}_pb2_grpc as pb_grpc


class {{ cookiecutter.resource_name }}Service(
    pb_grpc.{{ cookiecutter.resource_name }}ServiceServicer,
):
    """One method for each kind of RPC.

    Args:
        store: where things are kept; a new one if not given.
    """

    def __init__(self, store: {{ cookiecutter.resource_name }}Store | None = None) -> None:
        self.store = {{ cookiecutter.resource_name }}Store() if store is None else store

    async def Get{{ cookiecutter.resource_name }}(
        self,
        request: pb.Get{{ cookiecutter.resource_name }}Request,
        context: Any,
    ) -> pb.Get{{ cookiecutter.resource_name }}Response:
        """Return one."""
        del context
        found = self.store.get(request.tenant, request.id)
        if found is None:
            raise errors.NotFound("there is none of that id", reason="NOT_FOUND", metadata={"id": request.id})
        return pb.Get{{ cookiecutter.resource_name }}Response(
            {{ cookiecutter.__resource_file }}=found,
        )

    async def Create{{ cookiecutter.resource_name }}(
        self,
        request: pb.Create{{ cookiecutter.resource_name }}Request,
        context: Any,
    ) -> pb.Create{{ cookiecutter.resource_name }}Response:
        """Make one; the chain has seen to it that the same call is not taken twice."""
        del context
        return pb.Create{{ cookiecutter.resource_name }}Response(
            {{ cookiecutter.__resource_file }}=self.store.add(request.tenant, request.title),
        )

    async def Watch{{ cookiecutter.resource_plural }}(
        self,
        request: pb.Watch{{ cookiecutter.resource_plural }}Request,
        context: Any,
    ) -> AsyncIterator[pb.Watch{{ cookiecutter.resource_plural }}Response]:
        """Stream what there is, then what is new, each with a number after which another call can go on."""
        del context
        last = self.store.last_sequence(request.tenant)
        if request.after > last:  # of another store: to wait for it would leave out what comes until then
            raise errors.OutOfRange(
                "there is nothing of that number yet",
                reason="CURSOR_UNKNOWN",
                metadata={"last": str(last)},
            )
        async for sequence, found in self.store.watch(request.tenant, request.after):
            yield pb.Watch{{ cookiecutter.resource_plural }}Response(
                {{ cookiecutter.__resource_file }}=found,
                sequence=sequence,
            )

    async def Import{{ cookiecutter.resource_plural }}(
        self,
        request_iterator: AsyncIterator[pb.Import{{ cookiecutter.resource_plural }}Request],
        context: Any,
    ) -> pb.Import{{ cookiecutter.resource_plural }}Response:
        """Take many, all or none: a broken upload never gets past the loop."""
        del context
        waiting = [(request.tenant, request.title) async for request in request_iterator]
        for tenant, title in waiting:
            self.store.add(tenant, title)
        return pb.Import{{ cookiecutter.resource_plural }}Response(
            imported=len(waiting),
        )

    async def Sync{{ cookiecutter.resource_plural }}(
        self,
        request_iterator: AsyncIterator[pb.Sync{{ cookiecutter.resource_plural }}Request],
        context: Any,
    ) -> AsyncIterator[pb.Sync{{ cookiecutter.resource_plural }}Response]:
        """Answer each id with what is kept under it, if anything is."""
        del context
        async for request in request_iterator:
            yield pb.Sync{{ cookiecutter.resource_plural }}Response(
                id=request.id,
                {{ cookiecutter.__resource_file }}=self.store.get(request.tenant, request.id),
            )
