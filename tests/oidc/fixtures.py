"""What the tests with a provider have in common: one generated service, one folder of certificates, and starters."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Protocol

import pytest
import yaml

from tests import npm
from tests.lacking import needs
from tests.oidc.calling import Callers
from tests.oidc.provider import OIDC, Provider
from tests.oidc.service import Service, policy_for, settings_in
from tools.bake import ROOT, bake

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conftest import Make


class Start(Protocol):
    def __call__(
        self, provider: Provider, *issuers: dict[str, Any], exchange: dict[str, Any] | None = None
    ) -> Service: ...


@pytest.fixture(scope="session")
def oidc_program() -> Path:
    """Return the provider's program, its packages installed as the lock has them."""
    needs("node", "npm", without="no provider runs")
    return npm.installed(OIDC / "provider.mjs", ROOT / "build" / "oidc")


@pytest.fixture(scope="session")
def oidc_folder(oidc_program: Path, template: Path, tmp_path_factory: pytest.TempPathFactory, make: Make) -> Path:
    """Return a service that was generated and set up."""
    assert oidc_program.is_file()
    made = bake(tmp_path_factory.mktemp("service"), {}, template)
    done = make(made, "setup")
    assert done.returncode == 0, done.stdout
    return made


@pytest.fixture(scope="session")
def callers(oidc_folder: Path) -> Iterator[Callers]:
    started = Callers(oidc_folder)
    yield started
    started.stop()


@pytest.fixture(scope="session")
def oidc_files(callers: Callers, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return certificates and keys for the provider, and for what else the service meets."""
    made = tmp_path_factory.mktemp("files")
    callers.prepare(made)
    return made


@pytest.fixture(scope="session")
def new_provider(oidc_program: Path, oidc_files: Path) -> Iterator[Callable[[], Provider]]:
    """Start providers; all end at the end."""
    started: list[Provider] = []

    def start() -> Provider:
        started.append(Provider(oidc_program, oidc_files, oidc_files / "provider.log"))
        return started[-1]

    yield start
    for provider in started:
        provider.stop()


@pytest.fixture(scope="session")
def start(oidc_folder: Path, oidc_files: Path, callers: Callers) -> Iterator[Start]:
    """Start services with these issuers besides that of development; all end well at the end."""
    started: list[Service] = []

    def run(provider: Provider, *issuers: dict[str, Any], exchange: dict[str, Any] | None = None) -> Service:
        settings = yaml.safe_load((oidc_folder / "config" / "dev.yaml").read_text(encoding="utf-8"))
        usual = settings["authentication"]["issuers"]
        into = oidc_files / f"service-{len(started)}"
        path = settings_in(oidc_folder, into, [*issuers, *usual], policy_for(provider), exchange)
        started.append(Service(oidc_folder, path))
        return started[-1]

    yield run
    with ThreadPoolExecutor() as at_once:
        assert set(at_once.map(Service.stop, started)) <= {0}
    assert all(callers.find_whole(service) for service in started)


@pytest.fixture(scope="session")
def provider(new_provider: Callable[[], Provider]) -> Provider:
    return new_provider()
