"""Where the measurement takes place: a service generated for it, with an environment of its own, and its tools."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tools.bake import ROOT, bake

if TYPE_CHECKING:
    from collections.abc import Mapping

FOLDER = ROOT / "build" / "benchmarks"
HERE = Path(__file__).resolve().parent
ENOUGH = {"calls": 1_000_000, "period_seconds": 1}  # no call of the measurement may be refused


class FailedError(Exception):
    """The measurement cannot be made, or cannot be believed."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """The service and what is needed to call it."""

    service: Path
    shim: Path  # gives h2load a client certificate

    @property
    def python(self) -> Path:
        """Return the interpreter of the service's environment."""
        return self.service / ".venv" / "bin" / "python"

    @property
    def certificates(self) -> Path:
        """Return the folder with the certificates of both sides."""
        return self.service / ".dev"

    @property
    def config(self) -> Path:
        """Return the settings of the full chain."""
        return self.service / "build" / "benchmark.yaml"

    def token_of(self, caller: str) -> str:
        """Return a fresh token of one of the development callers."""
        return run(self.python, "-m", "order_service", "token", "new", caller, folder=self.service).strip()


def prepare(*, under_load: bool = True) -> Workspace:
    """Generate the service from this working directory and set it up.

    Args:
        under_load: whether it is to be called by h2load.

    Raises:
        FailedError: A program is missing, or a step failed.

    """
    needed = [("h2load", "nghttp2-client"), ("gcc", "gcc")] if under_load else []
    for program, package in (*needed, ("make", "make")):
        if shutil.which(program) is None:
            raise FailedError(f"{program} is missing: on Debian, apt-get install {package}")
    FOLDER.mkdir(parents=True, exist_ok=True)
    generated = FOLDER / "new"
    shutil.rmtree(generated, ignore_errors=True)
    service = FOLDER / "order-service"
    keep = [name for name in (".venv", ".dev") if (service / name).exists()]
    fresh = bake(generated, {"project_name": "Order Service", "trust_domain": "example.org"})
    for name in keep:  # the environment is brought up to date by `make setup`, in place
        (service / name).rename(fresh / name)
    shutil.rmtree(service, ignore_errors=True)
    fresh.rename(service)
    run("make", "setup", folder=service)
    workspace = Workspace(service, FOLDER / "client_certificate.so")
    run("uv", "pip", "install", "-q", "--require-hashes", "--python", workspace.python, "-r", HERE / "requirements.txt")
    if under_load:
        run("gcc", "-O2", "-Wall", "-shared", "-fPIC", "-o", workspace.shim, HERE / "client_certificate.c", "-ldl")
    write_settings(workspace)
    return workspace


def environment_python(name: str) -> Path:
    """Return the interpreter of an environment beside the service's."""
    return FOLDER / name / "bin" / "python"


def set_up_peers() -> None:
    """Make the environment of servers that need other packages than the service has."""
    run("uv", "venv", "-q", "--allow-existing", FOLDER / "peers")
    requirements = HERE / "peers.txt"
    run("uv", "pip", "sync", "-q", "--require-hashes", "--python", environment_python("peers"), requirements)


def run(*command: str | Path, folder: Path = ROOT, path: Path | None = None) -> str:
    """Return what a program prints.

    Args:
        command: The program and its arguments.
        folder: Where it runs.
        path: Where it finds further modules of Python.

    Raises:
        FailedError: It failed; the message is what it said.

    """
    unwanted = {"VIRTUAL_ENV", "MAKEFLAGS", "MAKELEVEL", "MFLAGS"}
    environment = {name: value for name, value in os.environ.items() if name not in unwanted}
    environment["PATH"] = f"{ROOT / '.venv/bin'}{os.pathsep}{environment['PATH']}"
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    done = subprocess.run(command, cwd=folder, env=environment, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise FailedError(f"{' '.join(map(str, command))} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def write_settings(workspace: Workspace, name: str = "", over: Mapping[str, Any] | None = None) -> None:
    """Write the settings of production, but for addresses, files and a quota that nothing reaches.

    Args:
        workspace: Where.
        name: Of the file, from the service's folder; that of the full chain if empty.
        over: Settings that differ further, section by section.

    """
    settings = yaml.safe_load((workspace.service / "config" / "prod.yaml").read_text(encoding="utf-8"))
    settings["listen"] = {"address": "127.0.0.1:0", "admin_address": "127.0.0.1:0"}
    del settings["admin"]
    settings["tls"] = {
        "certificate_file": ".dev/server.pem",
        "key_file": ".dev/server.key",
        "client_ca_file": ".dev/ca.pem",
    }
    issuer = settings["authentication"]["issuers"][0]
    del issuer["jwks_url"]
    issuer["jwks_file"] = ".dev/jwks.json"
    settings["revocation"]["deny_list_file"] = ".dev/deny.yaml"
    settings["authorization"] |= {"policy_file": "policy/policy.yaml", "rollout_file": "policy/rollout.yaml"}
    settings["replay"]["file"] = "build/replay.db"
    settings["quotas"] = dict.fromkeys(settings["quotas"], ENOUGH)
    settings["audit"]["file"] = "build/audit.log"
    settings["shutdown"] = {"drain_seconds": 0, "grace_seconds": 1}
    for section, values in (over or {}).items():
        settings[section] = {**settings.get(section, {}), **values} if isinstance(values, dict) else values
    workspace.config.parent.mkdir(exist_ok=True)
    file = workspace.service / name if name else workspace.config
    file.write_text(yaml.safe_dump(settings), encoding="utf-8")
