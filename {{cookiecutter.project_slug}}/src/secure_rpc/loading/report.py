"""What was driven and measured: rows for people, and a picture of the latencies."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

HEADER = ("call", "kind", "calls", "ended", "p50 ms", "p90 ms", "p99 ms", "longest ms")
WAYS_HEADER = ("authentication", "a second", "server's CPU, us each", "refused")
WIDTH, LINE, LEFT, RIGHT, TOP, BOTTOM = 860, 30, 210, 70, 56, 34  # of the picture, in pixels
MARKS = (
    ("p50_ms", "p50", "#2e7d32"),
    ("p90_ms", "p90", "#b26a00"),
    ("p99_ms", "p99", "#b00020"),
    ("max_ms", "longest", "#606060"),
)
BUSY = 0.9  # of one core
MOST_ENDINGS = 3  # that a row names


def rows(figures: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return a row for each sort of call."""
    return [
        (
            name,
            act["kind"],
            f"{act['calls']:,}",
            _endings(act["ended"]),
            *(_milliseconds(act[key]) for key, _, _ in MARKS),
        )
        for name, act in figures["acts"].items()
    ]


def summary(figures: Mapping[str, Any], rate: float) -> list[str]:
    """Return what is told besides the rows, a line each."""
    late = figures["started_late"]["p99_ms"]
    made, share = figures["calls_per_second"], figures["client_share"]
    found = [
        f"{made:,.1f} calls a second were made, of {rate:,.1f} that were due",
        f"p99 of a start was {_milliseconds(late)} ms late; the client used {share:.0%} of one core",
    ]
    if share > BUSY:
        found.append("the client was busy all the time: it limits the rate, and latencies are its own")
    if figures["not_made"]:
        found.append(f"{figures['not_made']:,} calls were not made: too many were in flight")
    found += [f"refused: {told}: {count:,}" for told, count in figures["refused"].items()]
    if server := figures["server"]:
        each = f", {server['cpu_seconds'] / figures['calls'] * 1e6:,.0f} us a call" if figures["calls"] else ""
        memory = server.get("memory_bytes")
        held = (
            f"; memory {memory / 1e6:,.0f} MB, grown by {server['memory_growth_bytes'] / 1e6:,.1f} MB" if memory else ""
        )
        found.append(f"the server used {server['cores']:.0%} of one core{each}{held}")
    return found


def ways_rows(ways: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Return a row for each way to be authenticated."""
    return [
        (name, f"{way['per_second']:,.0f}", f"{way['cpu_us']:,.0f}" if "cpu_us" in way else "-", f"{way['refused']:,}")
        for name, way in ways.items()
    ]


def picture(title: str, figures: Mapping[str, Any]) -> str:
    """Return the latencies of each sort of call as SVG, on a scale of which each step is ten times the one before.

    Args:
        title: what was driven.
        figures: as `Course.figures` gives them.
    """
    timed = {name: act for name, act in figures["acts"].items() if act["p50_ms"] is not None}
    values = [act[key] for act in timed.values() for key, _, _ in MARKS]
    low = math.floor(math.log10(max(min(values, default=1.0), 1e-3)))
    high = max(math.ceil(math.log10(max([*values, 1e-3]))), low + 1)
    height = TOP + LINE * len(timed) + BOTTOM
    base = height - BOTTOM

    label = f'role="img" aria-label="Latencies of {escape(title)}"'

    def place(milliseconds: float) -> float:
        share = (math.log10(max(milliseconds, 1e-3)) - low) / (high - low)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" {label}>',
        '<g font-family="sans-serif" font-size="12" fill="#1a1a1a">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="20" y="20" font-size="14" font-weight="bold">{escape(title)}</text>',
        *_legend(),
    ]
    for power in range(low, high + 1):
        x = place(10.0**power)
        lines.append(
            f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{base}" stroke="#e0e0e0"/>'
            f'<text x="{x:.1f}" y="{base + 16}" text-anchor="middle" font-size="10">{10.0**power:g} ms</text>'
        )
    for number, (name, act) in enumerate(timed.items()):
        y = TOP + LINE * number + LINE / 2
        ends = place(act["p50_ms"]), place(act["max_ms"])
        lines.append(f'<text x="{LEFT - 12}" y="{y + 4}" text-anchor="end">{escape(name)}</text>')
        lines.append(
            f'<line x1="{ends[0]:.1f}" y1="{y}" x2="{ends[1]:.1f}" y2="{y}" stroke="#a0a0a0" stroke-width="2"/>'
        )
        lines += [f'<circle cx="{place(act[key]):.1f}" cy="{y}" r="5" fill="{colour}"/>' for key, _, colour in MARKS]
    return "\n".join([*lines, "</g></svg>", ""])


def page(title: str, lines: Sequence[str], figures: Mapping[str, Any], ways: Mapping[str, Any]) -> str:
    """Return the report in Markdown; its picture stands beside it."""
    parts = [f"# {title}", "![Latencies](load.svg)", _table(HEADER, rows(figures)), *lines]
    if ways:
        parts.append(_table(WAYS_HEADER, ways_rows(ways)))
    return "\n\n".join(parts) + "\n"


def _table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    every = [header, ["---"] * len(header), *lines]
    return "\n".join("| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |" for cells in every)


def _legend() -> list[str]:
    found, x = [], LEFT
    for _, name, colour in MARKS:
        found.append(f'<circle cx="{x}" cy="38" r="5" fill="{colour}"/><text x="{x + 10}" y="42">{name}</text>')
        x += 90
    return found


def _endings(ended: Mapping[str, int]) -> str:
    told = [f"{name} {count:,}" for name, count in list(ended.items())[:MOST_ENDINGS]]
    more = len(ended) - len(told)
    return ", ".join([*told, *([f"and {more} others"] if more else [])])


def _milliseconds(value: float | None) -> str:
    return "-" if value is None else f"{value:,.2f}"
