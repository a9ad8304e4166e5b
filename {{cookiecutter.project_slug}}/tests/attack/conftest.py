"""One server for all tests of a file: it has to withstand them all. Tests that need another one start their own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from secure_rpc.platform import Application

from support.signed_calls import SignedWorld, run_signed_world
from support.target import Target, run_target


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def target(application: Application, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Target]:
    async with run_target(application, tmp_path_factory.mktemp("target")) as running:
        assert await running.is_served()
        yield running
        assert await running.is_served(), "an attack has left the server unable to serve"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(application: Application, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SignedWorld]:
    """Give a server that takes signed calls, and the proxy in front of it."""
    async with run_signed_world(application, tmp_path_factory.mktemp("signed")) as running:
        yield running
