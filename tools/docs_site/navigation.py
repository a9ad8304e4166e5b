"""The navigation of the site. A page that no list names stands in its section's end, so that none is lost."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TypeAlias

Entry: TypeAlias = "str | dict[str, str | list[Entry]]"

FOR_TEAMS: dict[str, tuple[str, ...]] = {
    "Calls": ("chain", "calling", "streams", "replay", "integrity", "adding-a-stage"),
    "Who is let in": ("identity", "certificates", "federation"),
    "Who may do what": ("policy", "policy-export", "quotas", "load"),
    "In production": ("processes", "state", "deploying", "edge", "browser"),
    "What is seen": ("observability", "slo", "audit"),
    "What it is worth": ("controls", "threat-model", "responsibilities", "doctor", "drills"),
}
IN_REFERENCE = ("settings", "public-surface")
PLATFORM = ("prompts", "layout", "updating", "versions", "fleet", "decisions", "comparison", "benchmarks")
OPENING = ("README", "index")
GENERAL = ("README", "routines", "game-day", "postmortem")


def navigation(pages: list[PurePosixPath], reference: list[PurePosixPath]) -> list[Entry]:
    """Return the navigation as MkDocs takes it.

    Args:
        pages: all that are no reference and no source.
        reference: the pages of the reference, in order.

    """
    left = [str(page) for page in pages]

    def take(*names: str) -> list[Entry]:
        found: list[Entry] = []
        for name in names:
            if name in left:
                left.remove(name)
                found.append(name)
        return found

    def below(folder: str) -> list[Entry]:
        names = (name for name in list(left) if name.startswith(folder))
        return take(*sorted(names, key=lambda name: (PurePosixPath(name).stem not in OPENING, name)))

    first = take("index.md")
    tutorial, guides = below("tutorial/"), below("guides/")
    readme = take("service/README.md")
    settings = take(*(f"service/docs/{name}.md" for name in IN_REFERENCE))
    teams: list[Entry] = [
        {title: take(*(f"service/docs/{name}.md" for name in names))} for title, names in FOR_TEAMS.items()
    ]
    teams += [*take("service/SECURITY.md"), {"Checklists": below("service/checklists/")}, *below("service/docs/")]
    general = take(*(f"service/runbooks/{name}.md" for name in GENERAL))
    procedures = take(*(name for name in list(left) if name.startswith("service/runbooks/") and _is_lower(name)))
    alerts = below("service/runbooks/")
    trouble = take("troubleshooting.md")
    platform = take(*(f"{name}.md" for name in PLATFORM))
    platform += [*below("project/"), *below("service/")]
    platform += take(*list(left))  # whatever else stands in docs/
    sections: dict[str, list[Entry]] = {
        "Tutorial": tutorial,
        "Guides": [*guides, *trouble],
        "For service teams": [*readme, *teams],
        "Runbooks": [*general, {"Alerts": alerts}, {"Procedures": procedures}],
        "Reference": [*(str(page) for page in reference), *settings],
        "For the platform team": platform,
    }
    entries: list[Entry] = [{"Start": str(page)} for page in first]
    entries += [{title: each} for title, each in sections.items() if each]
    return entries


def _is_lower(name: str) -> bool:
    stem = PurePosixPath(name).stem
    return stem == stem.lower()
