"""A bar chart as SVG, with colours for light pages and for dark ones."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH, NAMES, NUMBERS = 720, 110, 60  # of the picture, of the names on the left, of the numbers on the right
BAR, GAP, TITLE = 30, 14, 46
STYLE = """
  text { font: 15px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; fill: #1f2328 }
  .title { font-weight: 600 }
  rect { fill: #0969da }
  line { stroke: #8c959f }
  @media (prefers-color-scheme: dark) { text { fill: #f0f6fc } rect { fill: #4493f8 } line { stroke: #6e7681 } }
"""


def bars(title: str, values: Sequence[tuple[str, float]]) -> str:
    """Return a picture with one bar for each name."""
    height = TITLE + len(values) * (BAR + GAP)
    scale = (WIDTH - NAMES - NUMBERS) / max(value for _, value in values)
    told = escape(", ".join(f"{name} {value:.0f}" for name, value in values))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        f"<title>{escape(title)}: {told}</title>",
        f"<style>{STYLE}</style>",
        f'<text class="title" x="0" y="22">{escape(title)}</text>',
    ]
    for number, (name, value) in enumerate(values):
        top = TITLE + number * (BAR + GAP)
        middle = top + BAR // 2 + 5
        parts += [
            f'<text x="{NAMES - 10}" y="{middle}" text-anchor="end">{escape(name)}</text>',
            f'<rect x="{NAMES}" y="{top}" width="{value * scale:.1f}" height="{BAR}" rx="2"/>',
            f'<text x="{NAMES + value * scale + 8:.1f}" y="{middle}">{value:.0f}</text>',
        ]
    parts += [f'<line x1="{NAMES}" y1="{TITLE - 8}" x2="{NAMES}" y2="{height - GAP + 8}"/>', "</svg>"]
    return "\n".join(parts) + "\n"
