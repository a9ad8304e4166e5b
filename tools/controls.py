"""Build the page of controls of the template, `docs/controls.md`: after a change of `src/secure_rpc/controls`."""

from __future__ import annotations

import sys
from pathlib import Path

INNER = Path(__file__).resolve().parent.parent / "{{cookiecutter.project_slug}}"
sys.path.insert(0, str(INNER / "src"))

from secure_rpc.controls.catalogue import CONTROLS  # noqa: E402  # it stands in the template
from secure_rpc.controls.page import built  # noqa: E402  # it stands in the template

__all__ = ["CONTROLS", "PAGE", "built", "main"]

PAGE = INNER / "docs" / "controls.md"


def main() -> None:
    """Write the page."""
    PAGE.write_text(built(), encoding="utf-8")


if __name__ == "__main__":
    main()
