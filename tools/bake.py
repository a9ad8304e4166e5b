"""Generate a service from the files that git knows, so that nothing else of a working directory gets into it."""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from cookiecutter.exceptions import CookiecutterException
from cookiecutter.main import cookiecutter

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).resolve().parent.parent
INNER = "{{cookiecutter.project_slug}}"
REPOSITORY = "TEMPLATE_REPOSITORY"
TEMPLATE_PARTS = ("cookiecutter.json", "hooks", INNER)


class RefusedError(Exception):
    """Say why nothing was generated."""


def known_files(root: Path = ROOT) -> list[Path]:
    """Return the files below `root` that git tracks or would track, sorted, relative to it."""
    # a checkout that belongs to somebody else is read, never written, and runs no hook of git's
    command = [
        "git",
        "-c",
        f"safe.directory={root}",
        "ls-files",
        "-z",
        "-co",
        "--exclude-standard",
        "--",
        *TEMPLATE_PARTS,
    ]
    done = subprocess.run(command, cwd=root, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        msg = f"the files of the template are those that git knows, and git says: {done.stderr.strip()}"
        raise RefusedError(msg)
    return sorted({Path(name) for name in done.stdout.split("\0") if name and (root / name).is_file()})


def snapshot(target: Path, root: Path = ROOT) -> Path:
    """Copy the template's files to `target` and return it."""
    for name in known_files(root):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / name, target / name)
    return target


def bake(out: Path, answers: Mapping[str, str], template: Path | None = None) -> Path:
    """Generate a service below `out` with these answers, defaults otherwise, and return its folder.

    Args:
        out: The folder that will hold the service's own.
        answers: Answers to prompts by their names. They may hold no template: the generator would run it.
        template: A copy of the template that needs no snapshot; by default this repository as it stands.

    Raises:
        RefusedError: An answer cannot work, or the folder exists. Nothing was written.

    """
    prompts = [name for name in json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8")) if name[0] != "_"]
    for name, answer in answers.items():
        if name not in prompts:
            msg = f"{name}: no such prompt; there are {', '.join(prompts)}"
            raise RefusedError(msg)
        if re.search(r"\{[{%#]", answer):
            msg = f"{name}: {answer!r} holds a template's braces"
            raise RefusedError(msg)
    logging.getLogger("cookiecutter").setLevel(logging.CRITICAL)  # a refusal is an answer, not an accident
    with tempfile.TemporaryDirectory(prefix="bake-") as name:
        scratch = Path(name)
        # nothing is read from, or left in, the home of who runs this
        settings = scratch / "settings.yaml"
        settings.write_text(
            f"replay_dir: {scratch / 'replay'}\ncookiecutters_dir: {scratch / 'clones'}\n", encoding="utf-8"
        )
        os.environ[REPOSITORY] = str(ROOT)  # to the hook that notes what the service is of: what it reads is a copy
        try:
            made = cookiecutter(
                str(template or snapshot(scratch / "template")),
                no_input=True,
                extra_context=dict(answers),
                output_dir=str(out),
                config_file=str(settings),
            )
        except (CookiecutterException, ValueError) as error:
            raise RefusedError(str(error)) from error
        finally:
            del os.environ[REPOSITORY]
    return Path(made)


def main() -> None:
    """Read the arguments, generate, and say where the service is."""
    parser = argparse.ArgumentParser(
        prog="make bake", usage='make bake NAME="Order Service" OUT=folder [ANSWERS="prompt=answer ..."]'
    )
    parser.add_argument("answers", nargs="*", metavar="prompt=answer", help="answers to other prompts")
    answers = parser.parse_args().answers
    name, out = os.environ.get("NAME", "").strip(), os.environ.get("OUT", "").strip()
    if not name or not out:
        missing = " and ".join(key for key, value in (("NAME", name), ("OUT", out)) if not value)
        sys.exit(f'{missing} missing: make bake NAME="Order Service" OUT=folder')
    if wrong := [answer for answer in answers if "=" not in answer]:
        sys.exit(f"not of the form prompt=answer: {' '.join(wrong)}")
    try:
        made = bake(Path(out), {"project_name": name, **dict(answer.split("=", 1) for answer in answers)})
    except RefusedError as error:
        sys.exit(f"not generated: {error}")
    print(f"{made} is ready: cd {made} && make test && make run")
    if json.loads((made / ".cruft.json").read_text(encoding="utf-8")).get("uncommitted"):
        print("the template has changes that are not committed: updates of this service will not know of them")


if __name__ == "__main__":
    main()
