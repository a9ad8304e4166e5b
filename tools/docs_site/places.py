"""Where the pages of the site come from, and where each stands in it.

The root's `docs/` are the site's own pages; a generated service keeps its tree below `service/`, so that links between
its pages hold as they are. Source files that a page links to become pages below `source/`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from tools.bake import INNER, ROOT

WORK = ROOT / "build" / "docs"
SITE = ROOT / "build" / "site"
SERVICE, PROJECT, SOURCE = PurePosixPath("service"), PurePosixPath("project"), PurePosixPath("source")
PROJECT_PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")
SERVICE_PAGES = ("*.md", "docs/*.md", "runbooks/*.md", "checklists/*.md")
PICTURES = {".svg", ".png"}


@dataclass(slots=True)
class Places:
    """Each file that is shown, with its place in the site.

    Attributes:
        service: the generated service.
        root: the template's repository.
        pages: Markdown, by its file.
        sources: what else is linked to; found while pages are read.
        pictures: found while pages are read.

    """

    service: Path
    root: Path = ROOT
    pages: dict[Path, PurePosixPath] = field(default_factory=dict)
    sources: dict[Path, PurePosixPath] = field(default_factory=dict)
    pictures: dict[Path, PurePosixPath] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Find the pages."""
        docs = self.root / "docs"
        for page in sorted(docs.rglob("*.md")):
            self.pages[page] = PurePosixPath(page.relative_to(docs).as_posix())
        for name in PROJECT_PAGES:
            self.pages[self.root / name] = PROJECT / name.lower()
        for pattern in SERVICE_PAGES:
            for page in sorted(self.service.glob(pattern)):
                self.pages[page] = SERVICE / page.relative_to(self.service).as_posix()

    def of(self, file: Path) -> PurePosixPath | None:
        """Return the place of a file that a page links to, and note that it is needed; None where there is none."""
        inner = self.root / INNER
        if file.is_relative_to(inner):  # a link into the template is one to what is made of it
            file = self.service / file.relative_to(inner)
        if file in self.pages:
            return self.pages[file]
        if not file.exists() or not (file.is_relative_to(self.root) or file.is_relative_to(self.service)):
            return None
        if file.suffix in PICTURES:
            return self.pictures.setdefault(file, self._beside(file))
        return self.sources.setdefault(file, self._source(file))

    def named(self, file: Path) -> str:
        """Return how a file is called by people: its path in its repository."""
        owner = self.service if file.is_relative_to(self.service) else self.root
        return file.relative_to(owner).as_posix()

    def _beside(self, picture: Path) -> PurePosixPath:
        if picture.is_relative_to(self.service):
            return SERVICE / picture.relative_to(self.service).as_posix()
        if picture.is_relative_to(self.root / "docs"):
            return PurePosixPath(picture.relative_to(self.root / "docs").as_posix())
        return PROJECT / picture.relative_to(self.root).as_posix()

    def _source(self, file: Path) -> PurePosixPath:
        folder = SOURCE / ("service" if file.is_relative_to(self.service) else "template")
        name = self.named(file)
        return folder / name / "index.md" if file.is_dir() else folder / f"{name}.md"
