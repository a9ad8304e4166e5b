"""The first page of the reference: what there is to look up, and where."""

from __future__ import annotations

from pathlib import Path

PAGE = Path(__file__).with_name("index.md")


def page() -> str:
    """Return the page, as it stands beside this."""
    return PAGE.read_text(encoding="utf-8")
