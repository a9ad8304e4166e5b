"""One command starts service and edge, says where they are, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
from contextlib import contextmanager
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
    folder: Path, tmp_path: Path, **changes: str
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
