"""pytest fixtures, loaded by `-p secure_rpc.testing.plugin`, before anything imports grpc.

tests/conftest.py gives an `application` fixture, which says what is to be run.
"""

from __future__ import annotations

from secure_rpc.tls import floor

floor.establish()

from collections.abc import AsyncIterator, Callable, Iterator  # noqa: E402
from pathlib import Path  # noqa: E402

import grpc  # noqa: E402
import pytest  # noqa: E402

from secure_rpc.platform import Application  # noqa: E402
from secure_rpc.testing import logs  # noqa: E402
from secure_rpc.testing.service import RunningService, run_service  # noqa: E402


def pytest_configure(config: pytest.Config) -> None:
    """Tell pytest of the marks that are used."""
    config.addinivalue_line("markers", "waiting: waits for the clock most of the time, and long; is begun first")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what waits, so that all else is done meanwhile by another worker."""
    items.sort(key=lambda item: item.get_closest_marker("waiting") is None)


@pytest.fixture
async def service(application: Application, tmp_path: Path) -> AsyncIterator[RunningService]:
    """Run the service for one test."""
    async with run_service(application, tmp_path) as running:
        yield running


@pytest.fixture
def client_as(service: RunningService) -> Callable[[str], grpc.aio.Channel]:
    """Return what makes channels: `client_as("alice")`."""
    return service.client_as


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """Leave logging as the test found it: a command that a test runs in this process sets it up."""
    with logs.as_they_were():
        yield
