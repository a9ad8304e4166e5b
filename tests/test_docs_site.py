"""The site of the documentation is whole, loads nothing of others, and works in a browser that opens it as files."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import grpc
import pytest

from tests.docs.built import Site
from tools.bake import ROOT
from tools.docs_site import build, diagrams
from tools.docs_site.diagrams import BrokenError, Diagram
from tools.docs_site.markdown import blocks, converted, fenced
from tools.docs_site.places import SITE, WORK

if TYPE_CHECKING:
    from pathlib import Path

    from tests.browser.driven import Browser

pytest_plugins = ["tests.docs.building"]

# what scripts of the theme name and what it would take that they load it: none of it is in these pages
NAMED_BY_SCRIPTS = {
    "https://unpkg.com/mermaid": ('class="mermaid"',),
    "https://unpkg.com/resize-observer-polyfill": (),  # for browsers without ResizeObserver: none since 2020
    "https://api.github.com": ('data-md-component="source"',),
    "https://${e}/api/v4": ('data-md-component="source"',),
}
OF_THE_THEME = {"aria-dialog-name", "landmark-unique"}  # its own markup
REQUEST = re.compile(r"(?:import|fetch|src|open|[a-z]{1,2})\(?[=(]?[\"'`](https?://[^\"'`]+)")
SECTIONS = ("Start", "Guides", "For service teams", "Runbooks", "Reference", "For the platform team")
REFERENCE = {
    "settings": ("SECURE_RPC_LISTEN__ADDRESS", "limits.max_request_bytes", "whole number, bytes"),
    "commands": ("order-service pki rotate-ca", "--running", "order-service policy who-can"),
    "metrics": ("grpc_server_call_duration_seconds", "histogram", "calls that had been made before"),
    "errors": (
        "PERMISSION_MISSING",
        "the tenant is not yours",
        "errors.FailedPrecondition",
        "TOKEN_AUDIENCE_WRONG",
        "LOAD_SHED",
    ),
    "protos": ("WatchOrders", "any_permissions", "orders.read", "Whether the method is open to every caller"),
    "python": ("client.connect", "Application", "client_streams.KeptStream"),
}


def copied(folder: Path) -> Path:
    """Return a copy of this repository's pages, as little as can be built."""
    shutil.copytree(ROOT / "docs", folder / "docs")
    for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.mark.slow
def test_each_link_leads_somewhere_and_nothing_is_shown_as_it_was_typed(docs_site: Site) -> None:
    assert len(docs_site.pages) > 300
    assert list(docs_site.dead()) == []
    assert list(docs_site.left_over()) == []
    assert all(each.startswith("https://") for each in docs_site.elsewhere())
    print("links to other hosts, not followed:", *sorted(docs_site.elsewhere()), sep="\n")


@pytest.mark.slow
def test_nothing_is_loaded_from_another_host(docs_site: Site) -> None:
    assert list(docs_site.loaded_from_elsewhere()) == []
    markup = [path.read_text(encoding="utf-8") for path in docs_site.pages]
    for script in SITE.rglob("*.js"):
        if "search_index" in script.name:
            continue  # text of pages
        for address in REQUEST.findall(script.read_text(encoding="utf-8")):
            [needs] = [needs for known, needs in NAMED_BY_SCRIPTS.items() if address.startswith(known)]
            assert not any(need in page for need in needs for page in markup), address


@pytest.mark.slow
def test_the_reference_is_that_of_the_code(docs_site: Site) -> None:
    for name, expected in REFERENCE.items():
        page = " ".join("".join(docs_site.texts(f"reference/{name}.html")).split())
        assert [each for each in expected if each not in page] == [], name


@pytest.mark.slow
def test_each_reason_that_the_page_on_the_chain_names_is_in_the_reference(docs_site: Site) -> None:
    chain = " ".join(docs_site.texts("service/docs/chain.html"))
    named = {name for name in re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", chain) if name not in grpc.StatusCode.__members__}
    known = " ".join(docs_site.texts("reference/errors.html"))
    assert len(named) > 15
    assert [name for name in sorted(named) if not re.search(rf"\b{name}\b", known)] == []


@pytest.mark.slow
def test_every_page_has_its_place_in_the_navigation(docs_site: Site) -> None:
    front = (SITE / "index.html").read_text(encoding="utf-8")
    tabs = re.findall(r'<li class="md-tabs__item.*?<a href.*?>\s*(.*?)\s*</a>', front, re.DOTALL)
    assert [tab for tab in tabs if tab != "Tutorial"] == [*SECTIONS]
    assert docs_site.folder == SITE


@pytest.mark.slow
def test_the_site_opens_as_files_and_is_searched(docs_site: Site, docs_browser: Browser) -> None:
    index = (docs_site.folder / "search" / "search_index.js").read_text(encoding="utf-8")
    assert "service/docs/replay.html" in index
    assert "source/service" not in index  # code is shown, not searched
    docs_browser.do("open", url=(docs_site.folder / "service/docs/edge.html").as_uri())
    docs_browser.do("open", url=(docs_site.folder / "index.html").as_uri())
    for key in "/idempotency":  # the first opens the search
        docs_browser.do("press", key=key)
    docs_browser.shows(".md-search-result__item", "idempotency")
    assert docs_browser.complaints() == []
    assert not [url for url in docs_browser.do("urls") if not url.startswith(("file:", "blob:", "data:"))]


@pytest.mark.slow
def test_the_site_is_read_in_both_colours(
    docs_site: Site, docs_served: str, docs_browser: Browser, tmp_path: Path
) -> None:
    assert docs_site.pages
    pictures = []
    for scheme in ("light", "dark"):
        for name in ("index", "reference/settings", "service/docs/edge"):
            picture = tmp_path / f"{scheme}-{name.replace('/', '-')}.png"
            docs_browser.do("screenshot", file=str(picture), scheme=scheme)
            docs_browser.do("open", url=f"{docs_served}/{name}.html")
            found = docs_browser.do("axe", scheme=scheme)
            assert "color-contrast" in found["passes"]
            assert [each for each in found["violations"] if each[0] not in OF_THE_THEME] == []
            docs_browser.do("screenshot", file=str(picture), scheme=scheme)
            pictures.append(picture.read_bytes())
    assert len({*pictures}) == len(pictures)
    assert docs_browser.complaints() == []
    assert not [url for url in docs_browser.do("urls") if not url.startswith((docs_served, "about:", "blob:", "data:"))]


def test_a_link_that_leads_nowhere_fails_the_build_with_its_page(tmp_path: Path, service: Path) -> None:
    root = copied(tmp_path / "root")
    page = root / "docs" / "prompts.md"
    page.write_text(page.read_text(encoding="utf-8") + "\n[gone](../gone.py) and [here](layout.md)\n", encoding="utf-8")
    with pytest.raises(BrokenError) as told:
        build.gathered(service, tmp_path / "pages", root)
    assert str(told.value) == "docs/prompts.md: ../gone.py leads nowhere"


def test_an_anchor_that_is_not_there_fails_the_build(tmp_path: Path, docs_tools: Path) -> None:
    assert docs_tools.is_file()
    pages = tmp_path / "pages"
    pages.mkdir()
    (pages / "index.md").write_text("# One\n\n[two](#two)\n", encoding="utf-8")
    settings = tmp_path / "mkdocs.yml"
    settings.write_text(f"INHERIT: {build.HERE / 'mkdocs.yml'}\ndocs_dir: {pages}\nnav: [index.md]\n", encoding="utf-8")
    with pytest.raises(BrokenError, match="#two"):
        build.site_made(settings, tmp_path / "site")
    (pages / "index.md").write_text("# One\n\n[two](#two)\n\n## Two\n", encoding="utf-8")
    build.site_made(settings, tmp_path / "site")


def test_a_broken_diagram_fails_the_build_with_page_and_line(tmp_path: Path, docs_tools: Path) -> None:
    good = "flowchart LR\n    accTitle: Two\n    a --> b"
    found = [Diagram("docs/a.md:3", good), Diagram("docs/b.md:7", good.replace("-->", "--)>"))]
    with pytest.raises(BrokenError, match=r"^docs/b\.md:7: Parse error on line 4"):
        diagrams.draw(found, tmp_path, docs_tools)
    drawn = sorted((tmp_path / diagrams.FOLDER).glob("*.svg"))
    assert [path.name for path in drawn] == [f"{found[0].name}-{scheme}.svg" for scheme in ("dark", "light")]
    assert "foreignObject" not in drawn[0].read_text(encoding="utf-8")
    with pytest.raises(BrokenError, match=r"docs/c\.md:1: the diagram has no line `accTitle"):
        assert Diagram("docs/c.md:1", "flowchart LR\n    a --> b").title


def test_the_checker_of_links_sees_what_is_dead_and_what_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(
        '<p id="x">**bold** <a href="b.html#no">1</a><a href="c.html">2</a><a href="#x">3</a><a href=".">4</a>'
        '<script src="//cdn.example.org/x.js"></script><img src="https://example.org/x.png">'
    )
    (tmp_path / "b.html").write_text('<link rel="stylesheet" href="s.css"><a href="https://example.org">out</a>')
    (tmp_path / "s.css").write_text('@import "https://example.org/s.css"; a { background: url(data:x) }')
    seen = Site(tmp_path)
    assert [each.split()[1] for each in seen.dead()] == ["b.html#no", "c.html", "."]
    assert len(list(seen.loaded_from_elsewhere())) == len(["script", "picture", "style"])
    assert [each for each in seen.left_over() if "bold" in each]
    assert seen.elsewhere() == {"https://example.org"}


def test_lists_and_fences_become_what_the_site_reads() -> None:
    page = "Text\n- one\n  more\n  ```sh local\n  ls\n  ```\n- two\n  1. in it\n\n| a |\n|---|\n| `x\\|y` |\n"
    made = converted(page, lambda target: target, fenced)
    assert made.splitlines() == [
        "Text", "", "- one", "    more", "", '    ```sh title="local"', "    ls", "    ```", "",
        "- two", "    1. in it", "", "| a |", "|---|", "| `x|y` |",
    ]  # fmt: skip
    assert [each.line for each in blocks(page)] == [4]


def test_make_builds_what_is_tested_here() -> None:
    shown = subprocess.run(["make", "-n", "docs-serve"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert "-m tools.docs_site.build" in shown
    assert "http.server --bind 127.0.0.1 --directory build/site" in shown
    assert SITE == ROOT / "build" / "site"
    assert WORK.is_relative_to(ROOT / "build")
