"""A hardened copy of the service's repository, made once, and linked for each test."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from secure_rpc.platform import Application
from secure_rpc.settings import PREFIX

from support.postures import Posture, copied, linked


@pytest.fixture(scope="session")
def hardened(application: Application, tmp_path_factory: pytest.TempPathFactory) -> Posture:
    posture = copied(application, tmp_path_factory.mktemp("hardened"))
    posture.harden()
    return posture


@pytest.fixture
def posture(hardened: Posture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Posture:
    for name in [name for name in os.environ if name.upper().startswith(PREFIX)]:
        monkeypatch.delenv(name)
    copy = linked(hardened, tmp_path / "service")
    monkeypatch.chdir(copy.folder)
    return copy
