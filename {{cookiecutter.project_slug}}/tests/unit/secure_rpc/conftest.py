"""The kernel's tests run on the pumped loop and on grpc.aio's own, its fallback; those of settings have a file."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest

from secure_rpc.settings import PREFIX

from support.settings_files import SOUND, write
from support.world import Serve, World


@pytest.fixture(params=["pumped", "fallback"])
def serve(request: pytest.FixtureRequest) -> Serve:
    """Return what makes a world on one of the two loops."""
    return partial(World, pumped=request.param == "pumped")


@pytest.fixture
def no_settings_around(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take out of the environment what would stand over a file."""
    for name in [name for name in os.environ if name.upper().startswith(PREFIX)]:
        monkeypatch.delenv(name)


@pytest.fixture
def settings_file(tmp_path: Path) -> Path:
    """Return a file of settings that are sound."""
    path = tmp_path / "settings.yaml"
    write(path, SOUND)
    return path
