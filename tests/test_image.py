"""The image of a generated service: built for real, looked into, and run by a user who may write nowhere."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING, NamedTuple

import pytest
import yaml

from tests.deploying.images import Builder, Container, Image, building
from tests.deploying.tools import environment
from tools.bake import bake

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Git, Make

pytestmark = pytest.mark.slow

USER = 65532
COMPILERS = {"gcc", "g++", "cc", "c++", "clang", "tcc", "ld", "as", "make", "cmake", "rustc", "go", "protoc", "buf"}
OF_THE_FIRST_STAGE = {"pip", "setuptools", "wheel", "grpc_tools", "mypy", "pytest", "ruff"}
PLACES = ("opt/service", "srv")  # all that the service adds to its base
UNCHECKED = 1  # PEP 552: the flags of code that nobody compares with its source


class Built(NamedTuple):
    """A service, set up, and its image."""

    service: Path
    builder: Builder
    image: Image


def context(template: Path, folder: Path, git: Git) -> Path:
    """Return a service in a repository of its own."""
    service = bake(folder, {}, template)
    git("init", "-q", cwd=service)
    git("add", "-A", cwd=service)
    git("commit", "-qm", "new", cwd=service)
    return service


def made(make: Make, builder: Builder, service: Path, name: str) -> subprocess.CompletedProcess[str]:
    return make(service, "image", f"PYTHON_IMAGE={builder.base}", f"IMAGE={name}", f"BUILDER={builder.command}")


@pytest.fixture(scope="module")
def built(template: Path, tmp_path_factory: pytest.TempPathFactory, git: Git, make: Make) -> Iterator[Built]:
    """Build an image, once for all tests."""
    with building() as builder:
        service = context(template, tmp_path_factory.mktemp("image"), git)
        done = make(service, "setup")
        assert done.returncode == 0, done.stdout
        builder.fetch(service / "requirements")
        done = made(make, builder, service, "localhost/order-service:first")
        assert done.returncode == 0, done.stdout
        yield Built(service, builder, builder.image("localhost/order-service:first"))


def paths(root: Path) -> dict[str, os.stat_result]:
    """Return what there is below a folder."""
    found = {}
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = os.path.join(folder, name)  # noqa: PTH118  # there are some 10,000
            found[os.path.relpath(path, root)] = os.lstat(path)
    return found


# --- what is in it -----------------------------------------------------------------------------------------


def test_an_image_says_what_it_is_and_whose_user_it_runs_as(built: Built, git: Git) -> None:
    config = built.image.config
    labels = {name.removeprefix("org.opencontainers.image."): value for name, value in config["Labels"].items()}
    assert labels["title"] == "order-service"
    assert labels["revision"] == git("rev-parse", "HEAD", cwd=built.service).strip()
    assert labels["base.name"] == built.builder.base
    assert "@sha256:" in labels["base.name"]
    assert config["User"] == f"{USER}:{USER}"
    assert (config["Entrypoint"], config["Cmd"][0]) == (["order-service"], "serve")


def test_only_the_service_is_added_to_the_base_and_its_user_can_change_none_of_it(built: Built) -> None:
    base, image = (paths(each.root) for each in (built.builder.image(built.builder.base), built.image))
    added = image.keys() - base.keys()
    assert len(added) > 1000
    assert [name for name in added if not name.startswith(PLACES)] == []
    assert base.keys() - image.keys() == set()
    for name in added:
        said = image[name]
        assert said.st_uid == 0, name
        assert os.path.islink(built.image.root / name) or not said.st_mode & 0o6022, name  # noqa: PTH114  # as above


def test_nothing_that_compiles_is_in_it(built: Built) -> None:
    names = {name.rsplit("/", 1)[-1]: name for name in paths(built.image.root) if "bin/" in name}
    assert len(names) > 100
    assert [path for name, path in names.items() if name.split("-")[0] in COMPILERS or "gcc" in name] == []
    (packages,) = (built.image.root / "opt" / "service" / "lib").glob("python*/site-packages")
    there = {path.name for path in packages.iterdir()}
    assert {"order_service", "secure_rpc", "grpc"} <= there
    assert there & OF_THE_FIRST_STAGE == set()


def test_code_is_compiled_once_and_for_all(built: Built) -> None:
    (packages,) = (built.image.root / "opt" / "service" / "lib").glob("python*/site-packages")
    sources = list(packages.rglob("*.py"))
    compiled = {path.parent.parent / f"{path.name.split('.cpython-')[0]}.py": path for path in packages.rglob("*.pyc")}
    assert [path for path in sources if path not in compiled] == []
    flags = {int.from_bytes(path.read_bytes()[4:8], "little") for path in compiled.values()}
    assert flags == {UNCHECKED}


# --- how it is built ---------------------------------------------------------------------------------------


def test_a_build_elsewhere_and_later_has_the_same_layers(built: Built, tmp_path: Path, make: Make) -> None:
    elsewhere = tmp_path / "another-place"
    left = shutil.ignore_patterns(".venv", "build", ".dev", "*_pb2*", "*.egg-info")
    shutil.copytree(built.service, elsewhere, ignore=left, copy_function=shutil.copyfile)
    done = made(make, built.builder, elsewhere, "localhost/order-service:second")
    assert done.returncode == 0, done.stdout
    assert built.builder.layers("localhost/order-service:second") == built.builder.layers(built.image.name)


def test_a_package_that_is_not_the_one_of_the_lock_is_not_installed(
    built: Built, template: Path, tmp_path: Path, git: Git, make: Make
) -> None:
    service = context(template, tmp_path, git)
    lock = service / "requirements" / "runtime.txt"
    before, name, after = lock.read_text(encoding="utf-8").partition("\nannotated-doc==")
    other = after.replace("sha256:", "sha256:0000", 2)
    lines = [line[:82] + line[86:] if "sha256:0000" in line else line for line in other.splitlines()]
    lock.write_text(before + name + "\n".join(lines) + "\n", encoding="utf-8")
    entry = name + after.partition("\n    # via")[0] + "\n"
    (service / "requirements" / "dev.txt").write_text(
        entry, encoding="utf-8"
    )  # tools take their time, and none is used
    done = made(make, built.builder, service, "localhost/order-service:tampered")
    assert done.returncode != 0
    assert "DO NOT MATCH THE HASHES" in done.stdout


def test_keys_environments_and_history_are_no_part_of_what_is_built_from(built: Built, tmp_path: Path) -> None:
    for name in ("src/order_service/of.key", "proto/of.pem", "requirements/token.env", "secret.txt"):
        (built.service / name).write_text("secret", encoding="utf-8")
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY . /\n", encoding="utf-8")
    options = ("--isolation", "chroot", "-q", "-t", "localhost/context:all", "-f", tmp_path / "Dockerfile")
    try:
        built.builder("bud", *options, built.service)
    finally:
        for name in ("src/order_service/of.key", "proto/of.pem", "requirements/token.env", "secret.txt"):
            (built.service / name).unlink()
    assert (built.service / ".dev" / "ca.key").is_file()
    root = built.builder.image("localhost/context:all").root
    found = {name for name in paths(root) if (root / name).is_file()}
    assert {name.split("/")[0] for name in found} == {"pyproject.toml", "requirements", "proto", "src"}
    command = ["git", "ls-files", "pyproject.toml", "requirements", "proto", "src"]
    known = subprocess.run(command, cwd=built.service, check=True, capture_output=True, text=True).stdout.split()
    assert found == {name for name in known if not name.endswith(".in")}


def installed(root: Path) -> set[tuple[str, str]]:
    """Return the packages in an image, with their versions, by what they say themselves."""
    found = set()
    for file in root.glob("opt/service/lib/python*/site-packages/*.dist-info/METADATA"):
        said = dict(line.split(": ", 1) for line in file.read_text(encoding="utf-8").splitlines() if ": " in line[:12])
        found.add((re.sub(r"[-_.]+", "-", said["Name"]).lower(), said["Version"]))
    return found


def test_the_bill_of_materials_is_what_is_in_the_image(built: Built, make: Make) -> None:
    bills = []
    for _ in range(2):
        done = make(built.service, "sbom", f"PYTHON_IMAGE={built.builder.base}")
        assert done.returncode == 0, done.stdout
        bills.append((built.service / "build" / "sbom.json").read_bytes())
    assert bills[0] == bills[1]
    bill = json.loads(bills[0])
    base, packages = (
        [each for each in bill["components"] if (each["type"] == "container") is wanted] for wanted in (True, False)
    )
    assert [f"{each['name']}@{each['version']}" for each in base] == [built.builder.base]
    names: dict[str, set[tuple[str, str]]] = {each["scope"]: set() for each in packages}
    for each in packages:
        names[each["scope"]].add((each["name"], each["version"]))
    there = installed(built.image.root) - {("order-service", "0.1.0")}
    assert len(there) > 30
    assert names["required"] - there == set()
    assert there - names["required"] - names["optional"] == set()


@pytest.mark.parametrize("target", ["image", "sbom"])
@pytest.mark.parametrize("base", ["", "python:3.11-slim", "python@sha1:0123"])
def test_make_refuses_a_base_that_is_not_named_by_its_digest(service: Path, make: Make, base: str, target: str) -> None:
    done = make(service, target, f"PYTHON_IMAGE={base}", "BUILDER=false")
    assert done.returncode != 0
    assert "by its digest" in done.stdout


def test_the_linter_of_dockerfiles_finds_nothing(service: Path, tmp_path: Path) -> None:
    hadolint = environment("deploy") / "bin" / "hadolint"
    done = subprocess.run([hadolint, service / "Dockerfile"], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")
    hostile = tmp_path / "Dockerfile"
    hostile.write_text((service / "Dockerfile").read_text(encoding="utf-8") + "USER root\n", encoding="utf-8")
    done = subprocess.run([hadolint, hostile], check=False, capture_output=True, text=True)
    assert "DL3002" in done.stdout


# --- how it runs -------------------------------------------------------------------------------------------


def mounts(service: Path, folder: Path) -> dict[str, Path]:
    """Return what is mounted: settings of production, with keys of development where production has its own."""
    settings = yaml.safe_load((service / "config" / "prod.yaml").read_text(encoding="utf-8"))
    (issuer,) = settings["authentication"]["issuers"]
    del issuer["jwks_url"]
    issuer["jwks_file"] = "/etc/order-service/issuer/jwks.json"
    files = {
        "/etc/order-service/settings": {"settings.yaml": yaml.safe_dump(settings)},
        "/etc/order-service/policy": {"policy.yaml": (service / "policy" / "policy.yaml").read_text(encoding="utf-8")},
        "/etc/order-service/revocation": {"deny.yaml": (service / ".dev" / "deny.yaml").read_text(encoding="utf-8")},
        "/etc/order-service/issuer": {"jwks.json": (service / ".dev" / "jwks.json").read_text(encoding="utf-8")},
        "/run/secrets/tls": {
            name: (service / ".dev" / file).read_text(encoding="utf-8")
            for name, file in {"tls.crt": "server.pem", "tls.key": "server.key", "ca.crt": "ca.pem"}.items()
        },
    }
    mounted = {}
    for place, contents in files.items():
        mounted[place] = folder / place.strip("/").replace("/", "-")
        mounted[place].mkdir()
        for name, text in contents.items():
            file = mounted[place] / name
            file.write_text(text, encoding="utf-8")
            file.chmod(0o400)
            os.chown(file, USER, USER)
    return mounted


@pytest.fixture(scope="module")
def container(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    """Run the image, until it is healthy."""
    folder = tmp_path_factory.mktemp("mounted")
    image = built.builder.image(built.image.name)  # another copy: what looks into the first finds it as it was built
    writable = ("/tmp", "/var/log/order-service")  # noqa: S108  # of the image, as docs/deploying.md has them
    running = Container(image, folder / "log", mounts(built.service, folder), writable)
    try:
        running.wait()
        yield running
    finally:
        running.kill()


def called(built: Built, container: Container, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = built.service / ".venv" / "bin" / "order-service"
    order = '{"tenant": "acme", "title": "first"}'
    return container.beside(command, "call", "CreateOrder", "--data", order, *arguments, cwd=built.service)


def test_a_client_is_answered_by_the_service_in_its_image(built: Built, container: Container) -> None:
    done = called(built, container, "--as", "alice")
    assert done.returncode == 0, done.stderr
    assert '"title": "first"' in done.stdout
    refused = called(built, container)
    assert refused.returncode != 0
    assert "UNAUTHENTICATED" in refused.stdout + refused.stderr


def test_its_process_is_nobody_who_may_anything(container: Container) -> None:
    status = dict(line.split(":\t", 1) for line in container.status().splitlines() if ":\t" in line)
    assert status["Uid"].split() == [str(USER)] * 4
    assert status["Gid"].split() == [str(USER)] * 4
    assert int(status["CapEff"], 16) == 0


def test_its_file_system_is_not_written_to(container: Container) -> None:
    for place in ("/opt/service", "/srv", "/etc", "/usr/bin"):
        done = container.run("python3", "-c", f"open('{place}/new', 'w')")
        assert "Read-only file system" in done.stderr
    assert container.run("python3", "-c", "open('/tmp/new', 'w')").returncode == 0


def test_a_service_that_hangs_is_not_healthy(container: Container) -> None:
    assert container.is_healthy()
    os.kill(container.pid, signal.SIGSTOP)
    try:
        assert not container.is_healthy()
    finally:
        os.kill(container.pid, signal.SIGCONT)
    container.wait()


def test_it_ends_in_order_when_it_is_told_to(container: Container) -> None:  # the last: nothing runs afterwards
    assert container.end() == 0, container.log.read_text(encoding="utf-8")
