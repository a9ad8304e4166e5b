"""Where things are kept: in memory, for the example. Put your database here."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator

from .v1 import {{ cookiecutter.__resource_file }}_pb2 as pb

MAX_WAITING = 1000  # changes that one watcher may be behind


class {{ cookiecutter.resource_name }}Store:
    """Keep the things of each tenant apart, and tell watchers what is new."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], pb.{{ cookiecutter.resource_name }}] = {}
        self._numbers = itertools.count(1)
        self._watchers: set[tuple[str, asyncio.Queue[pb.{{ cookiecutter.resource_name }}]]] = set()

    def __len__(self) -> int:
        """Return how many things are kept."""
        return len(self._kept)

    def get(self, tenant: str, name: str) -> pb.{{ cookiecutter.resource_name }} | None:
        """Return one of a tenant's things, None where it has none of that id."""
        return self._kept.get((tenant, name))

    def add(self, tenant: str, title: str) -> pb.{{ cookiecutter.resource_name }}:
        """Keep a new thing and return it."""
        added = pb.{{ cookiecutter.resource_name }}(id=str(next(self._numbers)), tenant=tenant, title=title)
        self._kept[tenant, added.id] = added
        for watched, queue in list(self._watchers):
            if watched == tenant and not queue.full():
                queue.put_nowait(added)
        return added

    async def watch(self, tenant: str) -> AsyncIterator[pb.{{ cookiecutter.resource_name }}]:
        """Yield what a tenant has, then what is added to it, until the caller goes away."""
        queue: asyncio.Queue[pb.{{ cookiecutter.resource_name }}] = asyncio.Queue(MAX_WAITING)
        watcher = tenant, queue
        self._watchers.add(watcher)
        try:
            for (owner, _), kept in list(self._kept.items()):
                if owner == tenant:
                    yield kept
            while True:
                yield await queue.get()
        finally:
            self._watchers.discard(watcher)
