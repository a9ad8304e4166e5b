"""Build the site of the documentation, `build/site`: `make docs`.

A service is generated, its pages and this repository's are put in one place with the reference, diagrams are drawn, and
MkDocs makes HTML of it. What is broken ends the build.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path, PurePosixPath

import yaml

from tools.bake import ROOT, bake
from tools.docs_site import diagrams
from tools.docs_site.diagrams import BrokenError
from tools.docs_site.navigation import navigation
from tools.docs_site.pages import Writer
from tools.docs_site.places import SITE, WORK, Places

HERE = Path(__file__).resolve().parent
PAGES, SERVICES = WORK / "pages", WORK / "services"
MKDOCS = ROOT / "build" / "mkdocs" / "bin" / "mkdocs"
PROGRAM = ROOT / "build" / "diagrams" / diagrams.PROGRAM
ANSWERS = {"project_name": "Order Service"}
FRONT = "index.html"


def generated(folder: Path = SERVICES) -> Path:
    """Generate the service whose pages are shown, with the code of its protos, and return it."""
    shutil.rmtree(folder, ignore_errors=True)
    service = bake(folder, ANSWERS)
    protos = [path.relative_to(service / "proto").as_posix() for path in sorted((service / "proto").rglob("*.proto"))]
    build = service / "build"
    build.mkdir()
    python = [sys.executable, "-B"]
    subprocess.run([*python, "src/secure_rpc/proto_build.py", "build/validate.binpb"], cwd=service, check=True)
    protoc = [*python, "-m", "grpc_tools.protoc", "--descriptor_set_in=build/validate.binpb", "-I", "proto"]
    made = ["--python_out=src", "--grpc_python_out=src", *protos, "buf/validate/validate.proto"]
    subprocess.run([*protoc, *made], cwd=service, check=True)
    described = ["--descriptor_set_out=build/image.binpb", "--include_imports", "--include_source_info", *protos]
    subprocess.run([*protoc, *described], cwd=service, check=True)
    return service


def reference(service: Path, pages: Path) -> list[PurePosixPath]:
    """Have the pages of the reference written by a process that has the service's code, and return them in order."""
    path = os.pathsep.join([str(service / "src"), str(ROOT)])
    command = [sys.executable, "-B", "-m", "tools.docs_site.reference", str(pages)]
    done = subprocess.run(
        command, cwd=service, env={**os.environ, "PYTHONPATH": path}, check=False, capture_output=True, text=True
    )
    if done.returncode != 0:
        msg = f"the reference could not be made: {done.stderr.strip()}"
        raise BrokenError(msg)
    return [PurePosixPath(line) for line in done.stdout.split()]


def gathered(service: Path, pages: Path = PAGES, root: Path = ROOT) -> Path:
    """Put all pages in one folder, diagrams drawn, with the settings of MkDocs beside it, which are returned.

    Args:
        service: the generated one, from `generated`.
        pages: the folder.
        root: the repository whose docs are shown.

    Raises:
        BrokenError: a link leads nowhere, a diagram cannot be drawn.

    """
    kept = pages / diagrams.FOLDER
    for old in pages.glob("*"):
        if old.name != "assets":
            shutil.rmtree(old) if old.is_dir() else old.unlink()
    places = Places(service, root)
    writer = Writer(places, pages)
    drawn = writer.write()
    diagrams.draw(drawn, pages, PROGRAM)
    needed = {each.name for each in drawn}
    for picture in kept.glob("*.svg"):
        if picture.name.rpartition("-")[0] not in needed:
            picture.unlink()
    shutil.copyfile(HERE / "site.css", pages / "assets" / "site.css")
    worker = PROGRAM.parent / "node_modules" / "iframe-worker" / "shim" / "index.js"
    shutil.copyfile(worker, pages / "assets" / "iframe-worker.js")
    entries = navigation(list(places.pages.values()), reference(service, pages))
    settings = pages.parent / "mkdocs.yml"
    own = {"INHERIT": str(HERE / "mkdocs.yml"), "docs_dir": str(pages), "site_dir": str(SITE), "nav": entries}
    settings.write_text(yaml.safe_dump(own, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return settings


def site_made(settings: Path, site: Path = SITE) -> None:
    """Have MkDocs make the site.

    Raises:
        BrokenError: it has something to say against it.

    """
    command: list[str | Path] = [MKDOCS, "build", "--strict", "-f", settings, "-d", site]  # --quiet is not strict
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        told = [line for line in done.stderr.splitlines() if not line.startswith("INFO")]
        raise BrokenError("\n".join(told))


def main() -> None:
    """Build the site, or say what is broken."""
    try:
        site_made(gathered(generated()))
    except BrokenError as error:
        sys.exit(f"the site is not built:\n{error}")
    print(f"{SITE.relative_to(ROOT) / FRONT} is ready")


if __name__ == "__main__":
    main()
