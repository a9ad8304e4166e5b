"""The pages of the site, made from those of the repository and of a generated service."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import unquote

from tools.docs_site.diagrams import BrokenError, Diagram
from tools.docs_site.markdown import Block, converted, fenced

if TYPE_CHECKING:
    from tools.docs_site.places import Places

LANGUAGES = {
    ".js": "js",
    ".json": "json",
    ".mjs": "js",
    ".proto": "proto",
    ".py": "python",
    ".sh": "sh",
    ".toml": "toml",
    ".ts": "ts",
    ".yaml": "yaml",
    ".yml": "yaml",
}
ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:")
NOT_SEARCHED = "---\nsearch:\n  exclude: true\n---\n\n"
MAX_SHOWN_BYTES = 200_000


class Writer:
    """Writes pages to the folder that the site is built from.

    Args:
        places: of all files.
        folder: it is made anew, but for diagrams that are drawn already.

    """

    def __init__(self, places: Places, folder: Path) -> None:
        """Write nothing yet."""
        self.places = places
        self.folder = folder
        self.diagrams: list[Diagram] = []
        self._wrong: list[str] = []

    def write(self) -> list[Diagram]:
        """Write all pages and what they link to, and return the diagrams that are to be drawn.

        Raises:
            BrokenError: a link leads nowhere, or a diagram does not say what it shows.

        """
        for file, place in list(self.places.pages.items()):
            self._put(place, self.page(file, place))
        for file, place in self.places.sources.items():
            self._put(place, self._source(file, place))
        for file, place in self.places.pictures.items():
            target = self.folder / place
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
        if self._wrong:
            raise BrokenError("\n".join(self._wrong))
        return self.diagrams

    def page(self, file: Path, place: PurePosixPath) -> str:
        """Return a page as it stands in the site."""
        text = file.read_text(encoding="utf-8")

        def link(target: str) -> str:
            path, mark, fragment = target.partition("#")
            if not path or ELSEWHERE.match(path):
                return target
            found = Path(os.path.normpath(file.parent / unquote(path)))
            to = self.places.of(found)
            if to is None:
                self._wrong.append(f"{self.places.named(file)}: {target} leads nowhere")
                return target
            if found in self.places.sources:
                mark = fragment = ""
            return f"{relative(to, place)}{mark}{fragment}"

        def block(each: Block) -> str:
            if each.language != "mermaid":
                return fenced(each)
            diagram = Diagram(f"{self.places.named(file)}:{each.line}", each.text)
            try:
                shown = diagram.markdown(place)
            except BrokenError as error:
                self._wrong.append(str(error))
                return ""
            self.diagrams.append(diagram)
            return shown

        try:
            return converted(text, link, block)
        except ValueError as error:
            self._wrong.append(f"{self.places.named(file)}, {error}")
            return text

    def _put(self, place: PurePosixPath, text: str) -> None:
        target = self.folder / place
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")

    def _source(self, file: Path, place: PurePosixPath) -> str:
        name = self.places.named(file)
        if file.is_dir():
            return f"{NOT_SEARCHED}# {name}/\n\n{self._listed(file, place)}"
        content = file.read_bytes()
        if len(content) > MAX_SHOWN_BYTES:
            return f"{NOT_SEARCHED}# {name}\n\nA file of {len(content)} bytes; see it in its repository.\n"
        language = LANGUAGES.get(file.suffix, "makefile" if file.name == "Makefile" else "text")
        shown = fenced(Block(1, language, content.decode("utf-8").rstrip("\n")))
        return f"{NOT_SEARCHED}# {name}\n\n{shown}\n"

    def _listed(self, folder: Path, place: PurePosixPath) -> str:
        lines = []
        for file in sorted(folder.iterdir()):
            shown = self.places.pages.get(file) or self.places.sources.get(file)
            name = f"`{file.name}{'/' if file.is_dir() else ''}`"
            lines.append(f"- [{name}]({relative(shown, place)})" if shown else f"- {name}")
        return "\n".join(lines) + "\n"


def relative(to: PurePosixPath, page: PurePosixPath) -> str:
    """Return the link from one page of the site to another place in it."""
    return PurePosixPath(os.path.relpath(to, page.parent)).as_posix()
