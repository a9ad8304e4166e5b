"""Diagrams of pages, drawn while the site is built: blocks of Mermaid become pictures, in a browser without a window.

A page then needs no script for them, and one that cannot be drawn fails the build, with its page and line.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

PROGRAM = "diagrams.mjs"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
THEMES = {"light": ("neutral", "#fff"), "dark": ("dark", "#1e2129")}  # and what is behind the words of lines
FOLDER = PurePosixPath("assets", "diagrams")
TITLE = re.compile(r"^\s*accTitle:\s*(\S.*)$", re.MULTILINE)
SECONDS = 300


class BrokenError(Exception):
    """Say what of the site is broken, and where."""


@dataclass(frozen=True, slots=True)
class Diagram:
    """A block of Mermaid.

    Attributes:
        place: page and line, for people.
        text: as it stands.

    """

    place: str
    text: str

    @property
    def name(self) -> str:
        """Return the name of its pictures: another text is another picture."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:16]

    @property
    def title(self) -> str:
        """Return what it shows, for those who do not see it.

        Raises:
            BrokenError: it does not say.

        """
        found = TITLE.search(self.text)
        if found is None:
            msg = f"{self.place}: the diagram has no line `accTitle: ...` that says what it shows"
            raise BrokenError(msg)
        return found[1].strip()

    def markdown(self, page: PurePosixPath) -> str:
        """Return its pictures, for a page of the site; which of them is shown goes by the colours of the reader."""
        up = "../" * (len(page.parts) - 1)
        return "\n".join(f"![{self.title}]({up}{FOLDER / self.file(scheme)}#only-{scheme})" for scheme in THEMES)

    def file(self, scheme: str) -> str:
        """Return the name of a picture."""
        return f"{self.name}-{scheme}.svg"


def draw(diagrams: list[Diagram], pages: Path, program: Path) -> None:
    """Draw diagrams below the folder of the pages; those that are there are kept.

    Args:
        diagrams: of all pages.
        pages: the folder that the site is built from.
        program: the file that draws, its packages beside it.

    Raises:
        BrokenError: some cannot be drawn, each with its place.

    """
    folder = pages / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    jobs = [
        (diagram, {"text": diagram.text, "theme": theme, "ground": ground, "file": str(folder / diagram.file(scheme))})
        for diagram in diagrams
        for scheme, (theme, ground) in THEMES.items()
    ]
    jobs = [(diagram, job) for diagram, job in jobs if not Path(job["file"]).is_file()]
    if not jobs:
        return
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        msg = f"diagrams are drawn by a browser, and none is on PATH: {', '.join(BROWSERS)}"
        raise BrokenError(msg)
    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:
        json.dump({"program": browser, "diagrams": [job for _, job in jobs]}, file)
        file.flush()
        done = subprocess.run(
            ["node", program, file.name], check=False, capture_output=True, text=True, timeout=SECONDS
        )
    if done.returncode != 0:
        msg = f"diagrams could not be drawn: {done.stderr.strip()}"
        raise BrokenError(msg)
    answers: list[str | None] = json.loads(done.stdout)
    if wrong := [f"{job[0].place}: {answer}" for job, answer in zip(jobs, answers, strict=True) if answer]:
        raise BrokenError("\n".join(dict.fromkeys(wrong)))
