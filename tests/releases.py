"""Two releases of the template, made from what it is now, and services of the older one that their team has changed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tools.bake import INNER

if TYPE_CHECKING:
    from tests.conftest import Git

OLD, NEW = "v0.1.0", "v0.2.0"
PLATFORM = "src/secure_rpc"
PACKAGE = "src/order_service"
NOTE = "# 0.2.0\n\nThe README ends with another line.\n"
CRUFT = Path(sys.executable).with_name("cruft")


def wall(root: Path, *arguments: str) -> list[str]:
    """Ask a service which platform files are not as they were made."""
    command = [sys.executable, "-B", str(root / PLATFORM / "wall.py"), *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True).stderr.splitlines()


def swap(path: Path, old: str, new: str) -> None:
    """Replace a text that must be there, once."""
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, (path, old)
    path.write_text(text.replace(old, new), encoding="utf-8")


def set_version(repository: Path, version: str) -> None:
    """Say which version the template has."""
    path = repository / "cookiecutter.json"
    answers = json.loads(path.read_text(encoding="utf-8"))
    answers["_template_version"] = version
    path.write_text(json.dumps(answers, indent=2) + "\n", encoding="utf-8")


def made_older(inner: Path) -> None:
    """Change a template back: platform files that differ, lack or are too many, and files of the team's."""
    platform = inner / PLATFORM
    (platform / "headers.py").write_text('"""Older."""\n', encoding="utf-8")
    (platform / "spiffe.py").unlink()
    (platform / "gone.py").write_text('"""Not any more."""\n', encoding="utf-8")
    package = inner / "src/{{cookiecutter.package_name}}"
    swap(inner / "README.md", "# {{ cookiecutter.project_name }}\n", "# {{ cookiecutter.project_name }}, as it was\n")
    swap(inner / "config/prod.yaml", "listen:\n", "listen: # older\n")
    swap(inner / "Makefile", "all tests, those of each part", "older: all tests, those of each part")
    swap(package / "app.py", '"""The service at a glance: ', '"""The service, older: ')
    swap(package / "service.py", '"""Return one."""', '"""Return one, as it was."""')
    swap(inner / "ruff.toml", "line-length = 120\n", "line-length = 120 # older\n")
    swap(inner / "policy/policy.yaml", "# Who may do what. ", "# Older: who may do what. ")
    lock = inner / "requirements/runtime.txt"
    lock.write_text(f"# older\n{lock.read_text(encoding='utf-8')}", encoding="utf-8")


def two_releases(template: Path, repository: Path, git: Git) -> Path:
    """Make a repository whose tag NEW is the template as it stands, and OLD what might have been before it."""
    shutil.copytree(template, repository)
    new = repository.with_name("as-it-stands")
    (repository / INNER).rename(new)
    shutil.copytree(new, repository / INNER)
    git("init", "-q", "-b", "main", cwd=repository)
    for tag in (OLD, NEW):
        if tag == OLD:
            made_older(repository / INNER)
        else:
            shutil.rmtree(repository / INNER)
            new.rename(repository / INNER)
            (repository / "docs/migrations").mkdir(parents=True)
            (repository / "docs/migrations/0.2.0.md").write_text(NOTE, encoding="utf-8")
        set_version(repository, tag.removeprefix("v"))
        assert not wall(repository / INNER, "write")
        git("add", "-A", cwd=repository)
        git("commit", "-qm", tag, cwd=repository)
        git("tag", "-a", tag, "-m", tag, cwd=repository)
    return repository


def generated(repository: Path, out: Path, git: Git, tag: str = OLD) -> Path:
    """Generate a service from a release with the template's own generator alone, and put it under git."""
    checkout = out / "checkout"
    git("clone", "-q", "-b", tag, str(repository), str(checkout), cwd=repository)
    settings = out / "settings.yaml"
    settings.write_text(f"replay_dir: {out / 'replay'}\ncookiecutters_dir: {out / 'clones'}\n", encoding="utf-8")
    command = [sys.executable, "-m", "cookiecutter", "--no-input", "--config-file", str(settings)]
    environment = {name: value for name, value in os.environ.items() if name != "TEMPLATE_REPOSITORY"}
    subprocess.run([*command, "-o", str(out), str(checkout)], check=True, capture_output=True, env=environment)
    shutil.rmtree(checkout)
    service = out / "order-service"
    assert not wall(service)
    git("init", "-q", "-b", "main", cwd=service)
    commit(service, git, "made")
    return service


def commit(service: Path, git: Git, message: str = "ours") -> None:
    """Commit all that is in a service."""
    git("add", "-A", cwd=service)
    git("commit", "-qm", message, cwd=service)


def update(service: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Do what `make update` does, with this repository's cruft; return how it ended and what it printed."""
    command = [sys.executable, "-B", "-m", "secure_rpc.update", "--cruft", str(CRUFT), *arguments]
    # as its team would have it: a configuration of their own, which must change nothing
    mine = service.parent / "mine.yaml"
    mine.write_text('default_context: {owner: "Somebody else", project_slug: elsewhere}\n', encoding="utf-8")
    paths = {"PYTHONPATH": "src", "COOKIECUTTER_CONFIG": str(mine), "PATH": f"{CRUFT.parent}:{os.environ['PATH']}"}
    environment = {**os.environ, **paths, "GIT_CONFIG_GLOBAL": os.devnull}
    return subprocess.run(
        command, cwd=service, env=environment, check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


# what a team changes, each in the file and near the line that the newer template changes, too
OWN_STAGE = "from .hours import BusinessHours\n"
OWN_LINES = {
    f"{PACKAGE}/service.py": "# ours: handlers",
    f"{PACKAGE}/app.py": "        BusinessHours(0, 24),  # ours: a stage",
    "proto/order_service/v1/order.proto": "  // Ours: what it costs, in cents.\n  int64 price_cents = 4;",
    "policy/policy.yaml": "  auditor: # ours\n    includes: [reader]\n",
    "config/dev.yaml": "  ours: { calls: 7, period_seconds: 1 }\n",
    "config/prod.yaml": "# ours: settings",
    "README.md": "Ours.\n",
    "requirements/runtime.in": "iniconfig # ours\n",
}


def made_ours(service: Path) -> None:
    """Change a service as a team does: handlers, proto, policy, settings, a stage, a requirement."""
    hours = service / PACKAGE / "hours.py"
    shutil.copy(service / "docs/examples/business_hours.py", hours)
    lines = OWN_LINES
    for name in (f"{PACKAGE}/service.py", "config/prod.yaml", "README.md", "requirements/runtime.in"):
        path = service / name
        path.write_text(f"{path.read_text(encoding='utf-8')}{lines[name].rstrip()}\n", encoding="utf-8")
    app = f"{PACKAGE}/app.py"
    swap(service / app, "from .service import OrderService\n", f"{OWN_STAGE}from .service import OrderService\n")
    last = "        # yours here: docs/adding-a-stage.md\n"
    swap(service / app, last, f"{lines[app]}\n{last}")
    proto = "proto/order_service/v1/order.proto"
    title = "  // What people call it.\n  string title = 3;\n"
    swap(service / proto, title, f"{title}\n{lines[proto]}\n")
    admin = "  admin:\n    includes: [writer]\n"
    swap(service / "policy/policy.yaml", admin, f"{lines['policy/policy.yaml']}{admin}")
    bulk = "  bulk: { calls: 10, period_seconds: 1 }\n"
    swap(service / "config/dev.yaml", bulk, f"{bulk}{lines['config/dev.yaml']}")
