"""One command starts service and edge, says where they are, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import signal
import socket
import ssl
import subprocess
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Make

pytest_plugins = ["tests.oidc.fixtures", "tests.edge.fixtures"]
pytestmark = pytest.mark.slow

SECONDS = 120.0
SAID = "Ctrl-C ends all."


@pytest.fixture(scope="module")
def folder(oidc_folder: Path, make: Make) -> Path:
    """Return a service that is set up, with what a start of its edge needs."""
    made = make(oidc_folder, "build/image.binpb", "build/envoy/.stamp")
    assert made.returncode == 0, made.stdout
    return oidc_folder


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on."""
    taken = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in taken]
    for each in taken:
        each.close()
    return ports


def children(process: int) -> list[int]:
    """Return the processes that a process has started."""
    return [int(found) for found in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


@contextmanager
def started(
    folder: Path, tmp_path: Path, **changes: object
) -> Iterator[tuple[subprocess.Popen[str], list[int], list[int]]]:
    """Start all on free ports; give the process, those that it has started, and the ports, once it says where it is."""
    service, edge, probes, admin = free_ports(4)
    told = yaml.safe_load((folder / "deploy" / "edge" / "values.yaml").read_text(encoding="utf-8"))
    told["edges"]["dev"] |= {
        "service": f"127.0.0.1:{service}",
        "listen": f"127.0.0.1:{edge}",
        "probes": f"127.0.0.1:{probes}",
        "secrets_folder": str(tmp_path),
        "admin_socket": str(tmp_path / "s"),
        "page_folder": None,  # nor a provider, at a port of its own: tests/test_browser.py has both
        **changes,
    }
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(told), encoding="utf-8")
    environment = {
        **os.environ,
        "SECURE_RPC_LISTEN__ADDRESS": f"127.0.0.1:{service}",
        "SECURE_RPC_LISTEN__ADMIN_ADDRESS": f"127.0.0.1:{admin}",
        "SECURE_RPC_AUDIT__FILE": str(tmp_path / "audit.log"),
    }
    process = subprocess.Popen(
        [folder / ".venv" / "bin" / "order-service", "edge", "run", "--values", tmp_path / "values.yaml"],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    in_time = threading.Timer(SECONDS, process.kill)
    in_time.start()
    try:
        assert process.stdout
        lines = []
        for line in process.stdout:
            lines.append(line)
            if SAID in line:
                break
        assert SAID in lines[-1], lines
        yield process, children(process.pid), [service, edge, probes]
    finally:
        in_time.cancel()
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=SECONDS)


def listening(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_all_is_started_and_all_is_ended(folder: Path, tmp_path: Path, sent: signal.Signals) -> None:
    with started(folder, tmp_path) as (process, programs, ports):
        assert len(programs) >= 2
        assert all(map(listening, ports))
        process.send_signal(sent)
        process.communicate(timeout=SECONDS)
        assert process.returncode == 0
        assert not any(map(listening, ports))
        assert not [program for program in programs if Path(f"/proc/{program}").exists()]


def test_what_exchanges_tokens_is_started_and_ended_where_it_is_configured(
    folder: Path, oidc_files: Path, tmp_path: Path
) -> None:
    settings = yaml.safe_load((folder / "config" / "dev.yaml").read_text(encoding="utf-8"))
    authentication, internal = settings["authentication"], "https://internal.example.org"
    jwks_file, key_file = str(oidc_files / "exchange.json"), str(oidc_files / "exchange.key")
    authentication["credentials"] = ["certificate", "both"]
    authentication["issuers"].append({"issuer": internal, "jwks_file": jwks_file, "audiences": ["order-service"]})
    authentication["exchange"] = {"issuer": internal, "key_file": key_file, "audiences": ["order-service"]}
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    (port,) = free_ports(1)
    exchange = {"listen": f"127.0.0.1:{port}"}
    with started(folder, tmp_path, settings=str(tmp_path / "settings.yaml"), exchange=exchange) as (process, _, ports):
        assert all(map(listening, [*ports, port]))
        process.terminate()
        process.communicate(timeout=SECONDS)
        assert process.returncode == 0
        assert not any(map(listening, [*ports, port]))


@pytest.fixture
def keys(folder: Path) -> Iterator[str]:
    """Serve the keys of the development issuer where no provider does, and return the URL."""

    class Keys(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = (folder / ".dev" / "jwks.json").read_bytes()
            self.send_response(200)
            self.send_header("content-length", str(len(found)))
            self.end_headers()
            self.wfile.write(found)

        def log_message(self, *_arguments: object) -> None:
            """Say nothing."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3  # as many an issuer has it
    context.load_cert_chain(folder / ".dev" / "server.pem", folder / ".dev" / "server.key")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Keys)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"https://localhost:{server.server_port}/jwks"
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_calls_of_the_documentation_are_answered(folder: Path, tmp_path: Path, keys: str) -> None:
    blocks = re.findall(r"```sh\n(.*?)```", (folder / "docs" / "edge.md").read_text(encoding="utf-8"), re.DOTALL)
    (block,) = [found for found in blocks if "curl" in found]
    listed = {"https://issuer.example.org": {"jwks_url": keys, "ca_file": ".dev/ca.pem"}}
    with started(folder, tmp_path, keys=listed) as (_, _, (_, edge, _)):
        assert block.count("localhost:8443") == 2
        script = block.replace("localhost:8443", f"localhost:{edge}").replace(
            "curl ", "curl -sS -w '\\n%{http_code}\\n' "
        )
        done = subprocess.run(["sh", "-ec", script], cwd=folder, check=False, capture_output=True, text=True)
    found, made = done.stdout.splitlines()[1::2]
    assert (found, made) == ("404", "200"), (done.stdout, done.stderr)  # there was none yet
    assert '"title":"first"' in done.stdout


def test_where_one_ends_all_end(folder: Path, tmp_path: Path) -> None:
    with started(folder, tmp_path) as (process, programs, ports):
        os.kill(programs[-1], signal.SIGKILL)  # Envoy, which is started last
        said, _ = process.communicate(timeout=SECONDS)
        assert process.returncode == 1
        assert "edge has ended by itself, so all ends" in said
        assert not any(map(listening, ports))


def test_a_start_that_cannot_be_is_explained(folder: Path, tmp_path: Path) -> None:
    with (
        pytest.raises(AssertionError, match="edge has ended at its start"),
        started(folder, tmp_path, descriptors_file=str(tmp_path / "none.binpb")),
    ):
        pass
    command: list[str | Path] = [folder / ".venv" / "bin" / "order-service", "edge", "run", "--envoy", tmp_path]
    done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)
    assert done.returncode == 78
    assert "`make edge` installs it" in done.stderr
