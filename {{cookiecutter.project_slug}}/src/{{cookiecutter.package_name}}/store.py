"""Where things are kept: in memory, for the example. Put your database here."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator

from .v1 import {{ cookiecutter.__resource_file }}_pb2 as pb


class {{ cookiecutter.resource_name }}Store:
    """Keep the things of each tenant apart, and tell watchers what is new.

    Things are numbered as they are kept, from 1 on for each tenant. A watcher holds its place among them and nothing
    else: between what there is and what is new nothing is left out or doubled, however slow its caller reads.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], pb.{{ cookiecutter.resource_name }}] = {}
        self._in_order: dict[str, list[pb.{{ cookiecutter.resource_name }}]] = {}
        self._ids = itertools.count(1)
        self._watchers: set[tuple[str, asyncio.Event]] = set()

    def __len__(self) -> int:
        """Return how many things are kept."""
        return len(self._kept)

    def get(self, tenant: str, name: str) -> pb.{{ cookiecutter.resource_name }} | None:
        """Return one of a tenant's things, None where it has none of that id."""
        return self._kept.get((tenant, name))

    def last_sequence(self, tenant: str) -> int:
        """Return the number of the newest of a tenant's things, 0 where it has none."""
        return len(self._in_order.get(tenant, ()))

    def add(self, tenant: str, title: str) -> pb.{{ cookiecutter.resource_name }}:
        """Keep a new thing and return it."""
        added = pb.{{ cookiecutter.resource_name }}(id=str(next(self._ids)), tenant=tenant, title=title)
        self._kept[tenant, added.id] = added
        self._in_order.setdefault(tenant, []).append(added)
        for watched, woken in self._watchers:
            if watched == tenant:
                woken.set()
        return added

    async def watch(self, tenant: str, after: int) -> AsyncIterator[tuple[int, pb.{{ cookiecutter.resource_name }}]]:
        """Yield what a tenant has after a number, with its numbers, then what is added, until the caller goes away."""
        woken = asyncio.Event()
        watcher = tenant, woken
        self._watchers.add(watcher)
        try:
            while True:
                woken.clear()
                while after < self.last_sequence(tenant):
                    after += 1
                    yield after, self._in_order[tenant][after - 1]
                await woken.wait()
        finally:
            self._watchers.discard(watcher)
