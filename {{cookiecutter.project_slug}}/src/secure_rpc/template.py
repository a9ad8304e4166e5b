"""Which template this repository is of, and which releases there are after it. Standard library only.

The record is `.cruft.json`, written when the service was generated and by each update; a release of the template is a
tag of its repository, such as v1.2.3.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

FILE = ".cruft.json"
NOTES = "docs/migrations/"
SUPPORTED_MINORS = 2
ASKING_SECONDS = 10.0  # for how long a repository is asked for its tags
PROTOCOLS = "file:git:http:https:ssh"  # of git's, those that start no program of the address' choice
_COMMIT = re.compile(r"[0-9a-f]{4,64}")
_TAG = re.compile(r"v?(\d{1,6})\.(\d{1,6})\.(\d{1,6})")


class UnknownError(Exception):
    """Say why something of the template cannot be known."""


class Version(NamedTuple):
    """The version of a template; how two of them differ says what an update may ask of a service."""

    major: int
    minor: int
    patch: int

    @classmethod
    def parse(cls, text: str) -> Version | None:
        """Return the version that a tag or a record names, None where it names none.

        Args:
            text: such as "v1.2.3" or "1.2.3"; what is not final, such as "v1.2.3-rc1", is no release.
        """
        found = _TAG.fullmatch(text)
        return None if found is None else cls(*(int(part) for part in found.groups()))

    @property
    def tag(self) -> str:
        """Return the tag of its release."""
        return f"v{self}"

    def __str__(self) -> str:
        """Return it as people write it."""
        return ".".join(str(part) for part in self)


@dataclass(frozen=True, slots=True)
class Record:
    """What a repository says of its template."""

    template: str  # the address of its repository
    commit: str  # empty where it was made from files without a history
    version: str
    uncommitted: bool = False  # made from a template with changes that no commit has

    @classmethod
    def read(cls, root: Path) -> Record:
        """Read the record of a repository.

        Args:
            root: its folder.

        Raises:
            UnknownError: there is none, or it cannot be read.
        """
        try:
            data: dict[str, Any] = json.loads((root / FILE).read_text(encoding="utf-8"))
            answers = data.get("context", {}).get("cookiecutter", {})
            version, commit = str(answers.get("_template_version") or ""), str(data["commit"] or "")
            found = cls(str(data.get("template") or ""), commit, version, bool(data.get("uncommitted")))
        except FileNotFoundError:
            raise UnknownError(f"there is no {FILE}") from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise UnknownError(f"{FILE} names no commit") from None
        if commit and not _COMMIT.fullmatch(commit):  # it is handed to git, which takes other things for options
            raise UnknownError(f"{FILE} names no commit")
        return found


@dataclass(frozen=True, slots=True)
class Releases:
    """The releases of a template, as far as they could be asked for."""

    known: tuple[Version, ...] = ()  # the oldest first
    problem: str = ""  # why they could not be

    def after(self, version: Version) -> tuple[Version, ...]:
        """Return those that are newer than a version, the oldest first."""
        return tuple(each for each in self.known if each > version)

    def supports(self, version: Version) -> bool:
        """Tell whether a version still gets fixes: the newest minor release does, and the one before it."""
        minors = sorted({(each.major, each.minor) for each in (*self.known, version)})
        return (version.major, version.minor) in minors[-SUPPORTED_MINORS:]


@dataclass(frozen=True, slots=True)
class Release:
    """A release of the template, in a copy of its repository."""

    clone: Path
    tag: str
    commit: str
    version: Version

    @classmethod
    def find(cls, clone: Path, tag: str) -> Release:
        """Find a release in a copy of the template's repository: by its tag, never by a branch of that name.

        Args:
            clone: the copy.
            tag: the name of the tag, exactly.

        Raises:
            UnknownError: there is none.
        """
        tags = git("tag", "--list", cwd=clone).splitlines()
        if tag not in tags:
            known = ", ".join(version.tag for version in released(tags)) or "none"
            raise UnknownError(f"the template has no tag {tag}; its releases: {known}")
        commit = git("rev-parse", "--verify", f"refs/tags/{tag}^0", cwd=clone).strip()
        said = cls(clone, tag, commit, Version(0, 0, 0)).text("cookiecutter.json")
        version = Version.parse(str(json.loads(said).get("_template_version"))) if said else None
        if version is None:
            raise UnknownError(f"{tag} is no release of a template: it does not say its version")
        return cls(clone, tag, commit, version)

    def text(self, path: str) -> str:
        """Return what stands in a file of it; nothing where there is none."""
        try:
            return git("cat-file", "-p", f"{self.commit}:{path}", cwd=self.clone)
        except UnknownError:
            return ""

    def files(self) -> list[str]:
        """Return the paths of its files."""
        return git("ls-tree", "-r", "-z", "--name-only", self.commit, cwd=self.clone).split("\0")

    def generated(self, path: str) -> str:
        """Return what stands in a file that is copied into services as it is."""
        depth = path.count("/") + 1
        found = [name for name in self.files() if name.endswith(f"/{path}") and name.count("/") == depth]
        return self.text(found[0]) if len(found) == 1 else ""

    def notes(self, since: Version | None) -> list[str]:
        """Return the notes on releases after a version up to this one, the oldest first."""
        names = (name for name in self.files() if name.startswith(NOTES))
        found = {Version.parse(name.removeprefix(NOTES).removesuffix(".md")): name for name in names}
        wanted = [v for v in found if v is not None and v <= self.version and (since is None or v > since)]
        return [self.text(found[version]) for version in sorted(wanted)]


def released(names: Iterable[str]) -> tuple[Version, ...]:
    """Return the versions that tags name, the oldest first; other tags are none."""
    return tuple(sorted({version for name in names if (version := Version.parse(name)) is not None}))


def ask(template: str, seconds: float = ASKING_SECONDS) -> Releases:
    """Ask a template's repository for its releases; where it cannot be asked, that is what is known.

    Args:
        template: its address, or its folder.
        seconds: for how long.
    """
    try:
        lines = git("ls-remote", "--tags", "--refs", "--", template, seconds=seconds).splitlines()
    except UnknownError as error:
        return Releases(problem=str(error))
    return Releases(released(line.rpartition("refs/tags/")[2] for line in lines))


def git(*arguments: str, cwd: Path | None = None, seconds: float = 300.0, ask_people: bool = False) -> str:
    """Run git, and return what it printed.

    Args:
        *arguments: of git.
        cwd: where.
        seconds: for how long.
        ask_people: whether it may ask for a password.

    Raises:
        UnknownError: it failed, with what it said, or took longer.
    """
    environment = {**os.environ, "GIT_ALLOW_PROTOCOL": PROTOCOLS, "LC_ALL": "C"}
    if not ask_people:
        environment |= {"GIT_TERMINAL_PROMPT": "0"}
        environment.setdefault("GIT_SSH_COMMAND", "ssh -oBatchMode=yes")
    try:
        process = subprocess.Popen(  # noqa: S603  # options end before what a repository says
            ["git", *arguments],  # noqa: S607  # that on PATH
            cwd=cwd, env=environment, text=True, encoding="utf-8", errors="replace",
            stdin=None if ask_people else subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            process_group=None if ask_people else 0,
        )  # fmt: skip
    except OSError as error:
        raise UnknownError(f"git cannot be started: {error.strerror}") from None
    try:
        out, said = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):  # with those that it started, which would hold its output open
            process.kill() if ask_people else os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise UnknownError(f"git {arguments[0]} took longer than {seconds:g} s") from None
    if process.returncode != 0:
        lines = said.strip().splitlines() or [f"git {arguments[0]} failed"]
        raise UnknownError(next((line for line in lines if line.startswith(("fatal:", "error:"))), lines[-1]))
    return out
