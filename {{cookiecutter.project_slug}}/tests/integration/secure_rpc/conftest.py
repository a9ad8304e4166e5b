"""The server with the probe behind the service's chain, for one test, and certificates for those without it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from secure_rpc.platform import Application

from support.certificates import Certificates, issue
from support.target import Target, run_target


@pytest.fixture
async def target(application: Application, tmp_path: Path) -> AsyncIterator[Target]:
    async with run_target(application, tmp_path) as running:
        yield running


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return issue(tmp_path_factory.mktemp("certificates"))
