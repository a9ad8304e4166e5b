"""A flame picture as SVG: what ran, below it what that called, each as wide as its share of the time."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

WIDTH, ROW, TOP = 1000, 20, 50
LETTER = 6.4  # the width of one, about
LEAST_SHARE = 0.004  # of all; what is narrower is left out
STYLE = """
  text { font: 11px ui-monospace, "DejaVu Sans Mono", monospace; fill: #1f2328 }
  .title { font: 600 15px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif }
  .ours { fill: #9cc9f5 } .library { fill: #d8dee4 }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc } .ours { fill: #1c4f86 } .library { fill: #3d444d }
  }
"""


@dataclass(slots=True)
class Frame:
    """A function, how often it was seen, and what it called."""

    name: str
    samples: int = 0
    below: dict[str, Frame] = field(default_factory=dict)

    def add(self, stack: Sequence[str], samples: int) -> None:
        """Count a stack, outermost first."""
        self.samples += samples
        if stack:
            self.below.setdefault(stack[0], Frame(stack[0])).add(stack[1:], samples)


def tree(stacks: Iterable[tuple[Sequence[str], int]], name: str) -> Frame:
    """Return all stacks as one tree, below one frame of that name."""
    root = Frame(name)
    for stack, samples in stacks:
        root.add(stack, samples)
    return root


def picture(title: str, root: Frame, total: str, ours: Sequence[str]) -> str:
    """Return the picture.

    Args:
        title: Of it.
        root: The outermost frame.
        total: What its whole width stands for.
        ours: What frames have in their names that are shown as ours.

    """
    boxes = list(_boxes(root, 0, 0.0, root.samples))
    height = TOP + ROW * (1 + max(depth for _, depth, _, _ in boxes))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        f"<title>{escape(title)}</title>",
        f"<style>{STYLE}</style>",
        f'<text class="title" x="0" y="20">{escape(title)}</text>',
        f'<text x="0" y="40">the whole width is {escape(total)}; narrower than {LEAST_SHARE:.1%} is left out</text>',
    ]
    for frame, depth, left, width in boxes:
        kind = "ours" if any(each in frame.name for each in ours) else "library"
        x, y = left * WIDTH, TOP + depth * ROW
        parts.append(
            f'<g><title>{escape(frame.name)}: {width:.1%}</title><rect class="{kind}" x="{x:.1f}" y="{y}" '
            f'width="{max(width * WIDTH - 0.5, 0.5):.1f}" height="{ROW - 1}"/>{_label(frame.name, x, y, width)}</g>'
        )
    return "\n".join([*parts, "</svg>"]) + "\n"


def _label(name: str, x: float, y: float, width: float) -> str:
    room = int(width * WIDTH / LETTER) - 1
    if room < 3:  # noqa: PLR2004  # letters, of which nobody would make anything
        return ""
    shown = name if len(name) <= room else f"{name[: room - 1]}\u2026"
    return f'<text x="{x + 3:.1f}" y="{y + 14}">{escape(shown)}</text>'


def _boxes(frame: Frame, depth: int, left: float, total: int) -> Iterator[tuple[Frame, int, float, float]]:
    width = frame.samples / total
    if width < LEAST_SHARE:
        return
    yield frame, depth, left, width
    for below in sorted(frame.below.values(), key=lambda each: (-each.samples, each.name)):
        yield from _boxes(below, depth + 1, left, total)
        left += below.samples / total
