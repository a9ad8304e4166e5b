"""A dashboard as a picture: its panels where Grafana puts them, with their titles, units and colours."""

from __future__ import annotations

import hashlib
import json
from io import BytesIO
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tests.observing import panels
from tests.observing.panels import Card
from tests.observing.units import INK, MUTED, Unit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tests.observing.panels import Series

Json = dict[str, Any]

COLUMNS = 24  # of Grafana's grid
COLUMN, ROW, HEAD, GAP = 0.5, 0.27, 0.62, 0.07  # inches
DPI = 110
COLOURS = 192  # of the palette: text stays smooth, the file small
PAGE, CARD, FRAME = "#f4f5f7", "#ffffff", "#d8dee4"
PANELS, DIGEST = "Panels", "Dashboard"  # keys in the picture's text


def panels_of(dashboard: Json) -> list[Json]:
    """Return the panels that show something."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def noted(dashboard: Json) -> dict[str, str]:
    """Return what a picture says of itself: the panels by their titles, and a digest of all that shapes it."""
    shaping = [
        [
            *(panel[key] for key in ("type", "title", "gridPos")),
            panel.get("fieldConfig", {}).get("defaults"),
            [(target["expr"], target["legendFormat"]) for target in panel.get("targets", ())],
        ]
        for panel in dashboard["panels"]
    ]
    digest = hashlib.sha256(json.dumps([dashboard["title"], shaping], sort_keys=True).encode()).hexdigest()
    return {PANELS: json.dumps([panel["title"] for panel in panels_of(dashboard)]), DIGEST: digest}


def said_by(picture: Path) -> dict[str, str]:
    """Return what a picture says of itself."""
    with Image.open(picture) as opened:
        opened.load()
        return {key: str(opened.text[key]) for key in (PANELS, DIGEST)}  # type: ignore[attr-defined]  # of PNG alone


def draw(dashboard: Json, series_of: Callable[[Json], list[Series]], seconds: float, to: Path) -> None:
    """Write a dashboard as a picture.

    Args:
        dashboard: as Grafana imports it.
        series_of: gives what a panel shows.
        seconds: that are shown.
        to: the file.

    """
    grid = [panel["gridPos"] for panel in dashboard["panels"]]
    size = COLUMNS * COLUMN, max(place["y"] + place["h"] for place in grid) * ROW + HEAD
    with mpl.rc_context({"font.size": 8, "text.color": INK, "axes.labelcolor": MUTED, "svg.fonttype": "none"}):
        figure = Figure(figsize=size, dpi=DPI, facecolor=PAGE)
        canvas = figure.add_axes((0, 0, 1, 1), xlim=(0, size[0]), ylim=(size[1], 0))
        canvas.axis("off")
        canvas.text(0.16, 0.24, dashboard["title"], size=14, weight="bold", va="center")
        canvas.text(0.16, 0.48, dashboard["description"], size=8.5, color=MUTED, va="center")
        for panel in dashboard["panels"]:
            left, top, width, height = _inches(panel["gridPos"])
            if panel["type"] == "row":
                canvas.text(left + 0.12, top + height / 2, panel["title"], size=9.5, weight="bold", va="center")
                continue
            corner = left + GAP, top + GAP
            canvas.add_patch(
                FancyBboxPatch(
                    corner,
                    width - 2 * GAP,
                    height - 2 * GAP,
                    boxstyle="round,pad=0,rounding_size=0.05",
                    facecolor=CARD,
                    edgecolor=FRAME,
                    linewidth=0.8,
                )
            )
            unit = Unit(panel["fieldConfig"]["defaults"]["unit"])
            canvas.text(left + 0.17, top + 0.25, panel["title"], size=_title_size(panel), weight="bold", va="center")
            if panel["type"] != "stat":
                canvas.text(left + width - 0.19, top + 0.25, unit.name, size=8, color=MUTED, ha="right", va="center")
            inner = left + 0.15, top + 0.42, width - 0.3, height - 0.42 - 0.15
            panels.draw(Card(figure, _fractions(inner, size), inner[2], panel, series_of(panel), seconds, unit))
        _save(figure, noted(dashboard), to)


def _title_size(panel: Json) -> float:
    return 7.5 if panel["gridPos"]["w"] < 5 else 9


def _inches(place: Mapping[str, int]) -> tuple[float, float, float, float]:
    return place["x"] * COLUMN, HEAD + place["y"] * ROW, place["w"] * COLUMN, place["h"] * ROW


def _fractions(
    place: tuple[float, float, float, float], size: tuple[float, float]
) -> tuple[float, float, float, float]:
    left, top, width, height = place
    return left / size[0], 1 - (top + height) / size[1], width / size[0], height / size[1]


def _save(figure: Figure, texts: Mapping[str, str], to: Path) -> None:
    drawn = BytesIO()
    figure.savefig(drawn, format="png", facecolor=PAGE)
    info = PngInfo()
    for key, text in texts.items():
        info.add_text(key, text)
    with Image.open(drawn) as picture:
        few = picture.convert("RGB").quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        _keep(few, PAGE, CARD)
        few.save(to, optimize=True, pnginfo=info)


def _keep(picture: Image.Image, *colours: str) -> None:
    """Have large areas in their own colours, not in those of the palette that are next to them."""
    palette = picture.getpalette() or []
    for colour in colours:
        exact = [int(colour[start : start + 2], 16) for start in (1, 3, 5)]

        def distance(entry: int, exact: list[int] = exact) -> int:
            return sum(abs(palette[3 * entry + part] - exact[part]) for part in range(3))

        nearest = min(range(len(palette) // 3), key=distance)
        palette[3 * nearest : 3 * nearest + 3] = exact
    picture.putpalette(palette)
