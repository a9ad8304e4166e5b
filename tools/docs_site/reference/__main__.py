"""Write the pages of the reference, from the code of the service in this folder; print their places, in order."""

from __future__ import annotations

import sys
from pathlib import Path

from secure_rpc.tls import floor

floor.establish()  # before anything imports grpc, as each program of a service does

from tools.docs_site.reference import (  # noqa: E402  # see above
    commands,
    errors,
    metrics,
    modules,
    overview,
    protos,
    settings,
)

PAGES = {
    "index": overview.page,
    "settings": settings.page,
    "commands": commands.page,
    "metrics": metrics.page,
    "errors": errors.page,
    "protos": protos.page,
    "python": modules.page,
}


def main() -> None:
    """Write them."""
    folder = Path(sys.argv[1]) / "reference"
    folder.mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        (folder / f"{name}.md").write_text(page(), encoding="utf-8")
        print(f"reference/{name}.md")


if __name__ == "__main__":
    main()
