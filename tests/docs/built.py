"""A built site as a test reads it: the pages, where each link leads, and what a browser would load."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from html import unescape
from html.parser import HTMLParser
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOADED = {"stylesheet", "icon", "preload", "preconnect", "dns-prefetch", "modulepreload", "manifest"}
NOT_PROSE = {"code", "pre", "script", "style", "title"}
STYLE_URL = re.compile(r"url\(\s*['\"]?([^'\")]+)|@import\s+['\"]([^'\"]+)")
LEFT_OVER = re.compile(r"```|\]\(|^\s*\|.*\|\s*$|\*\*\w", re.MULTILINE)


@dataclass(slots=True)
class Page:
    """A page of HTML.

    Attributes:
        ids: where links can lead in it.
        links: what it links to.
        loads: what a browser loads for it.
        prose: its text outside of code.

    """

    ids: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    prose: list[str] = field(default_factory=list)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.page = Page()
        self._inside: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag in NOT_PROSE:
            self._inside.append(tag)
        self.page.ids |= {given[name] for name in ("id", "name") if given.get(name)}
        if "href" in given:
            is_load = tag == "link" and LOADED & {*given.get("rel", "").split()}
            (self.page.loads if is_load else self.page.links).append(given["href"])
        self.page.loads += [given[name] for name in ("src", "poster", "data") if given.get(name)]
        self.page.loads += [each.split()[0] for each in given.get("srcset", "").split(",") if each.strip()]

    def handle_endtag(self, tag: str) -> None:
        if self._inside and self._inside[-1] == tag:
            self._inside.pop()

    def handle_data(self, data: str) -> None:
        if not self._inside:
            self.page.prose.append(data)


class Site:
    """All pages of a site.

    Args:
        folder: where it was built.

    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pages: dict[Path, Page] = {}
        for path in sorted(folder.rglob("*.html")):
            reader = _Reader()
            reader.feed(path.read_text(encoding="utf-8"))
            self.pages[path] = reader.page

    def dead(self) -> Iterator[str]:
        """Yield what leads nowhere: a file that is not there, an anchor that its page does not have."""
        for path, page in self.pages.items():
            for target in [*page.links, *page.loads]:
                if not is_elsewhere(target) and (wrong := self._wrong(path, target)):
                    yield f"{path.relative_to(self.folder)}: {target} {wrong}"

    def elsewhere(self) -> set[str]:
        """Return the addresses of other hosts that are linked to."""
        return {target for page in self.pages.values() for target in page.links if is_elsewhere(target)}

    def loaded_from_elsewhere(self) -> Iterator[str]:
        """Yield what pages and styles would load from other hosts."""
        for path, page in self.pages.items():
            yield from (f"{path.relative_to(self.folder)}: {each}" for each in page.loads if is_host(each))
        for path in self.folder.rglob("*.css"):
            for found in STYLE_URL.findall(path.read_text(encoding="utf-8")):
                if is_host(found[0] or found[1]):
                    yield f"{path.relative_to(self.folder)}: {found}"

    def left_over(self) -> Iterator[str]:
        """Yield Markdown that was not understood, and is shown as it was typed."""
        for path, page in self.pages.items():
            for text in page.prose:
                if LEFT_OVER.search(text):
                    yield f"{path.relative_to(self.folder)}: {text.strip()}"

    def texts(self, name: str) -> list[str]:
        """Return all text of a page, code included."""
        text = (self.folder / name).read_text(encoding="utf-8")
        return [unescape(each) for each in re.sub(r"<[^>]+>", "", text.partition("<article")[2]).splitlines()]

    def _wrong(self, path: Path, target: str) -> str:
        parts = urlsplit(target)
        file = path
        if parts.path:
            file = self.folder / parts.path[1:] if parts.path[0] == "/" else path.parent / unquote(parts.path)
            file = type(path)(os.path.normpath(file))
            if file.is_dir():
                return "is a folder, which a file's address cannot show"
            if not file.is_file() or not file.is_relative_to(self.folder):
                return "is not there"
        if parts.fragment and file.suffix == ".html" and unquote(parts.fragment) not in self.pages[file].ids:
            return "has no such anchor"
        return ""


def is_elsewhere(target: str) -> bool:
    """Tell whether a link leads out of the site, or is none of a page."""
    return bool(urlsplit(target).scheme) or target.startswith("//")


def is_host(target: str) -> bool:
    """Tell whether an address is one of another host; `data:` is none."""
    return target.startswith("//") or urlsplit(target).scheme in {"http", "https", "ws", "wss"}
