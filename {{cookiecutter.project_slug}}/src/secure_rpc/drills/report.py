"""What is kept of a drill: a page in Markdown, with a picture of its course."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

from secure_rpc.drills.watching import FASTER

WIDTH, LINE, LEFT, TOP, BOTTOM = 860, 26, 20, 34, 40  # of the picture, in pixels
TEXT_SHARE = 0.42  # of the picture's width, for texts right of the last moment
COLOURS = {
    "calm": "#2e7d32", "fault": "#b00020", "signal": "#b26a00", "alert": "#b26a00", "remedy": "#1565c0",
    "recovered": "#2e7d32", "resolved": "#2e7d32", "problem": "#b00020",
}  # fmt: skip


def write(folder: Path, name: str, description: str, problems: Sequence[str], data: Mapping[str, Any]) -> Path:
    """Write a page of a drill and its picture.

    Args:
        folder: where they go.
        name: of the drill.
        description: of it.
        problems: what should not have been.
        data: its moments and times.

    Returns:
        the page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    moments = data.get("moments", ())
    lines = [f"# Drill {name}", "", f"Shows that {description}.", ""]
    lines += [f"{'Not passed' if problems else 'Passed'}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC.", ""]
    lines += [f"- {problem}" for problem in problems] + [""] * bool(problems)
    for what, seconds in data.get("times", {}).items():
        lines.append(f"- Time to {what}: {seconds:.1f} s")
    if moments:
        (folder / f"{name}.svg").write_text(picture(name, moments), encoding="utf-8")
        lines += ["", f"The rules of the alerts ran {FASTER} times as fast as where they are deployed.", ""]
        lines += [f"![The course of the drill]({name}.svg)", "", "| after | | |", "|--:|---|---|"]
        lines += [f"| {each['at']:.1f} s | {each['kind']} | {each['text']} |" for each in moments]
    page = folder / f"{name}.md"
    page.write_text("\n".join(lines).strip() + "\n", encoding="utf-8")
    return page


def picture(name: str, moments: Sequence[Mapping[str, Any]]) -> str:
    """Return the course of a drill as SVG: time to the right, a line for each moment.

    Args:
        name: of the drill.
        moments: "kind", "text" and "at" of each, in seconds.
    """
    last = max([each["at"] for each in moments], default=0.0) or 1.0
    wide = (1 - TEXT_SHARE) * WIDTH - LEFT
    height = TOP + LINE * len(moments) + BOTTOM
    label = f'role="img" aria-label="The course of the drill {escape(name)}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" {label}>',
        '<g font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="20" font-size="14" font-weight="bold" fill="#1a1a1a">{escape(name)}</text>',
    ]
    for number, each in enumerate(moments):
        x, y = LEFT + wide * each["at"] / last, TOP + LINE * number + LINE / 2
        colour = COLOURS[each["kind"]]
        lines.append(
            f'<line x1="{LEFT}" y1="{y}" x2="{x:.1f}" y2="{y}" stroke="#d0d0d0"/>'
            f'<circle cx="{x:.1f}" cy="{y}" r="5" fill="{colour}"/>'
            f'<text x="{x + 10:.1f}" y="{y + 4}" fill="#1a1a1a"><tspan fill="{colour}" font-weight="bold">'
            f"{escape(each['kind'])}</tspan> {escape(_short(each['text'], x))}</text>"
        )
    base = height - BOTTOM / 2
    lines.append(f'<line x1="{LEFT}" y1="{base}" x2="{LEFT + wide:.1f}" y2="{base}" stroke="#606060"/>')
    step = _step(last)
    for tick in range(int(last / step) + 1):
        x = LEFT + wide * tick * step / last
        place = f'x="{x:.1f}" y="{base + 15}" text-anchor="middle" font-size="10"'
        lines.append(f'<text {place} fill="#606060">{tick * step:g} s</text>')
    return "\n".join([*lines, "</g></svg>", ""])


def _step(seconds: float) -> float:
    return next((step for step in (1, 2, 5, 10, 20, 60) if seconds / step <= 10), 120)  # noqa: PLR2004  # ticks


def _short(text: str, x: float) -> str:
    room = int((WIDTH - x) / 6.6) - 12
    return text if len(text) <= room else f"{text[: max(room - 1, 0)]}…"
