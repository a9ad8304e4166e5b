"""The small edge of nginx, as it is shipped: gRPC with a token gets through, under limits, and little else."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Protocol, cast

import pytest

from tests.lacking import lacking
from tests.oidc.calling import JWT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.oidc.calling import Callers
    from tests.oidc.provider import Provider
    from tests.oidc.service import Service

pytest_plugins = ["tests.oidc.fixtures", "tests.edge.fixtures"]
pytestmark = pytest.mark.slow

SECONDS = 30.0


class NewNginx(Protocol):
    def __call__(self, **changes: str) -> Nginx: ...


class Nginx:
    """nginx, in a process of its own.

    Args:
        program: where it is.
        service: the folder that it runs in.
        behind: the port of what it passes calls on to.
        folder: for its files.
        changes: to the configuration, each a pattern and what takes its place.

    """

    def __init__(self, program: str, service: Path, behind: int, folder: Path, **changes: str) -> None:
        text = (service / "deploy" / "edge" / "nginx.conf").read_text(encoding="utf-8")
        with socket.create_server(("127.0.0.1", 0)) as taken:
            self.port: int = taken.getsockname()[1]
        expected = {"127.0.0.1:50051": f"127.0.0.1:{behind}", "127.0.0.1:8445": f"127.0.0.1:{self.port}", **changes}
        for old, new in expected.items():
            assert old in text, old
            text = text.replace(old, new)
        text = text.replace(".dev/nginx", str(folder / "nginx"))
        # in the folder of the one that is shipped, where paths of certificates begin
        self._file = service / "deploy" / "edge" / f"nginx-{self.port}.conf"
        self._file.write_text(text, encoding="utf-8")
        self._log, self._access = folder / "nginx.log", folder / "access.log"
        with self._log.open("wb") as log, self._access.open("wb") as access:
            command = [program, "-p", str(service), "-c", str(self._file)]
            self._process = subprocess.Popen(command, stdout=access, stderr=log)
        end = time.monotonic() + SECONDS
        while not self._listens():
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < end
            time.sleep(0.02)

    def _listens(self) -> bool:
        with socket.socket() as connection:
            return connection.connect_ex(("127.0.0.1", self.port)) == 0

    def as_service(self) -> Service:
        """Return it as callers take it: by its port."""
        return cast("Service", SimpleNamespace(port=self.port))

    def logged(self) -> str:
        return self._access.read_text(encoding="utf-8")

    def stop(self) -> None:
        """End it, its workers too."""
        self._process.terminate()
        self._process.wait(SECONDS)
        self._file.unlink()


@pytest.fixture(scope="module")
def program() -> str:
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if not found:
        lacking("nginx not found: apt-get install nginx")
    return found


@pytest.fixture
def new_nginx(program: str, behind: Service, oidc_folder: Path, tmp_path: Path) -> Iterator[NewNginx]:
    """Start them before the service; all end at the end."""
    started: list[Nginx] = []

    def run(**changes: str) -> Nginx:
        started.append(Nginx(program, oidc_folder, behind.port, tmp_path, **changes))
        return started[-1]

    yield run
    for each in started:
        each.stop()


@pytest.fixture
def nginx(new_nginx: NewNginx) -> Nginx:
    return new_nginx()


def test_a_call_with_a_token_gets_through_and_the_service_knows_user_and_edge(
    nginx: Nginx, callers: Callers, provider: Provider, behind: Service
) -> None:
    outcome = callers.call(nginx.as_service(), callers.token(provider, "orders"))
    assert outcome.code == "OK", outcome
    record = behind.record(code="OK", fields=outcome.audited)
    assert (record["workload"], record["subject"]) == ("spiffe://example.org/service/edge", "orders")
    assert record["trace_id"] in nginx.logged()


def test_the_service_refuses_what_nginx_does_not_look_at(nginx: Nginx, callers: Callers, provider: Provider) -> None:
    for token in ("", "opaque", callers.token(provider, "orders", JWT.replace("order-service", "stock"))):
        assert callers.call(nginx.as_service(), token).code == "UNAUTHENTICATED"
    assert callers.call(nginx.as_service(), callers.token(provider, "gateway")).code == "PERMISSION_DENIED"


def test_what_is_not_meant_for_the_edge_is_not_to_be_had_through_it(
    nginx: Nginx, callers: Callers, provider: Provider
) -> None:
    token = callers.token(provider, "gateway")
    assert callers.exchange(nginx.as_service(), token, token).code == "UNIMPLEMENTED"


def test_too_many_calls_hear_so(new_nginx: NewNginx, callers: Callers, provider: Provider) -> None:
    started = new_nginx(**{"rate=100r/s": "rate=1r/s", "burst=200": "burst=2"})
    token = callers.token(provider, "orders")
    codes = {outcome.code for outcome in callers.calls(started.as_service(), [token] * 20)}
    assert codes == {"OK", "RESOURCE_EXHAUSTED"}


def test_a_server_under_another_name_is_not_spoken_to(
    new_nginx: NewNginx, callers: Callers, provider: Provider
) -> None:
    started = new_nginx(**{"grpc_ssl_name order-service": "grpc_ssl_name other-service"})
    assert callers.call(started.as_service(), callers.token(provider, "orders")).code == "UNAVAILABLE"


def test_older_tls_gets_nothing(nginx: Nginx, oidc_folder: Path) -> None:
    for version, code in (("-tls1_2", 1), ("-tls1_3", 0)):
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{nginx.port}", "-CAfile", ".dev/ca.pem", version]
        done = subprocess.run(
            command, cwd=oidc_folder, check=False, stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS
        )
        assert done.returncode == code, done.stderr
    assert re.search(rb"Verification: OK", done.stdout)
