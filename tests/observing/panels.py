"""The kinds of panels that the dashboards have, drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from matplotlib.ticker import FuncFormatter, MaxNLocator

from tests.observing.units import INK, MUTED, Unit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Json = dict[str, Any]
Place = tuple[float, float, float, float]  # left, bottom, width, height: shares of the figure

LINES = ("#3b82d6", "#e0752d", "#2f9e44", "#ae3ec9", "#d6336c", "#0c8599", "#b08900", "#6e6e73", "#5c3bce", "#7a4b2a")
COLOURS = {"green": "#2f9e44", "yellow": "#d69e00", "red": "#d6293e"}
CHARACTERS = 17.0  # of a legend, to an inch
LEGEND_ROWS, LEGEND_ROW = 4, 0.15  # and inches
LONGEST_NAME = 32  # beside a box
TABLE_ROWS = 8


@dataclass(frozen=True)
class Series:
    """A series, under the name that its legend has."""

    name: str
    labels: Mapping[str, str]
    points: list[tuple[float, float]]  # seconds since the first moment that is shown, value

    @property
    def last(self) -> float:
        """Return the value of now."""
        return self.points[-1][1]


@dataclass(frozen=True)
class Card:
    """A panel, and the room that it has."""

    figure: Figure
    place: Place
    width: float  # of the place, in inches
    panel: Json
    series: list[Series]
    seconds: float  # that are shown
    unit: Unit

    def colour(self, value: float) -> str:
        """Return the colour that a value has by the steps of the panel."""
        steps = self.panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
        [*_, reached] = [step["color"] for step in steps if step["value"] is None or value >= step["value"]]
        return COLOURS[reached]


def draw(card: Card) -> None:
    """Draw what a panel shows."""
    kind, series = card.panel["type"], card.series
    axes = card.figure.add_axes(card.place)
    if not series:
        axes.axis("off")
        axes.text(0.5, 0.5, "No data", color=MUTED, ha="center", va="center", transform=axes.transAxes)
    elif kind == "stat":
        _number(card, axes)
    elif kind == "table":
        _table(card, axes)
    elif kind == "status-history":
        _history(card, axes)
    elif kind == "heatmap":
        _heat(card, axes)
    else:
        _lines(card, axes)


def _number(card: Card, axes: Axes) -> None:
    [series, *_] = card.series
    axes.axis("off")
    text = card.unit.shown(series.last)
    size = min(26.0, card.width * 72 / len(text) / 0.75)
    axes.text(0.5, 0.56, text, size=size, weight="bold", color=card.colour(series.last), ha="center", va="center")
    axes.text(0.5, 0.08, series.name, size=7.5, color=MUTED, ha="center", va="center")


def _lines(card: Card, axes: Axes) -> None:
    shown = sorted(card.series, key=lambda each: -max(value for _, value in each.points))
    columns = max(1, int(card.width * CHARACTERS / (max(len(each.name) for each in shown) + 5)))
    rows = min(LEGEND_ROWS, -(-len(shown) // columns))
    shown = shown[: rows * columns]
    for each, line_colour in zip(shown, LINES * 2, strict=False):
        axes.plot(*zip(*each.points, strict=True), color=line_colour, linewidth=1.3, label=each.name)
    _frame(card, axes, rows)
    low, high = axes.get_ylim()
    if low >= 0 and low < 0.6 * high:
        axes.set_ylim(bottom=0)
    if high <= 0:
        axes.set_ylim(0, 1)
    axes.legend(
        loc="upper left",
        bbox_to_anchor=(-0.02, -0.17),
        ncols=columns,
        fontsize=7,
        frameon=False,
        handlelength=1.1,
        handletextpad=0.5,
        columnspacing=1.2,
        labelspacing=0.25,
        borderpad=0,
        labelcolor=INK,
    )


def _frame(card: Card, axes: Axes, legend_rows: int = 0) -> None:
    """Leave room for the numbers beside the axes, and for the legend below."""
    left, bottom, share, height = card.place
    inch = share / card.width
    high = card.figure.get_figheight()
    below = (0.22 + legend_rows * LEGEND_ROW) / high
    axes.set_position((left + 0.52 * inch, bottom + below, share - 0.7 * inch, height - below))
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color("#c4cad0")
    axes.tick_params(length=0, labelsize=7, labelcolor=MUTED)
    axes.grid(axis="y", color="#e6e9ed", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.yaxis.set_major_locator(card.unit.locator(axes.get_ylim()))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: card.unit.shown(value)))
    _clock(card, axes)


def _clock(card: Card, axes: Axes) -> None:
    axes.set_xlim(0, card.seconds)
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 1.5, 2, 3, 6, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{int(value) // 60}:{int(value) % 60:02}"))


def _history(card: Card, axes: Axes) -> None:
    """Draw one row for each series, and its boxes in the colours of their values."""
    boxes = 24
    labels = [each.name if len(each.name) <= LONGEST_NAME else each.name[:LONGEST_NAME] + "…" for each in card.series]
    names = max(map(len, labels)) / CHARACTERS / card.width
    box = axes.get_position()
    axes.set_position((box.x0 + names * box.width, box.y0 + 0.012, box.width * (0.97 - names), box.height - 0.012))
    for row, each in enumerate(card.series):
        step = max(1, len(each.points) // boxes)
        for start, value in each.points[::step]:
            seconds = each.points[min(step, len(each.points) - 1)][0] - each.points[0][0]
            axes.barh(row, seconds * 0.94, left=start, height=0.86, color=card.colour(value))
        middle = each.points[len(each.points) // 2][0]
        axes.text(
            middle, row, card.unit.shown(each.last), size=8.5, weight="bold", color="white", ha="center", va="center"
        )
    axes.set_yticks(range(len(labels)), labels)
    axes.invert_yaxis()
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelsize=7.5, labelcolor=MUTED)
    _clock(card, axes)


def _heat(card: Card, axes: Axes) -> None:
    """Draw buckets against time; Prometheus' count all that is below, so each is told from the one before it."""
    ordered = sorted(
        (each for each in card.series if each.labels["le"] != "+Inf"), key=lambda each: float(each.labels["le"])
    )
    times = sorted({moment for each in ordered for moment, _ in each.points})
    below = [0.0] * len(times)
    rows = []
    for each in ordered:
        values = dict(each.points)
        now = [values.get(moment, 0.0) for moment in times]
        rows.append([max(value - before, 0.0) for value, before in zip(now, below, strict=True)])
        below = now
    edges = [*times, times[-1] + 1]
    _frame(card, axes)
    mesh = axes.pcolormesh(edges, range(len(rows) + 1), rows, cmap="Oranges", shading="flat", rasterized=True)
    axes.grid(visible=False)
    axes.set_yticks(range(1, len(rows) + 1, 2), [card.unit.shown(float(each.labels["le"])) for each in ordered[::2]])
    box = axes.get_position()
    axes.set_position((box.x0, box.y0, box.width - 0.035, box.height))
    bar = card.figure.colorbar(mesh, cax=card.figure.add_axes((box.x1 - 0.025, box.y0, 0.008, box.height)))
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0, labelsize=7, labelcolor=MUTED)


def _table(card: Card, axes: Axes) -> None:
    axes.axis("off")
    names = list(dict.fromkeys(name for each in card.series for name in each.labels))
    shown = sorted(card.series, key=lambda each: -each.last)[:TABLE_ROWS]
    cells = [[each.labels.get(name, "") or "-" for name in names] + [card.unit.shown(each.last)] for each in shown]
    head = [*names, "value"]
    lengths = [max(_length(row[number]) for row in [head, *cells]) + 3 for number in range(len(head))]
    left = 0.0
    scale = 1 / sum(lengths)
    for number, length in enumerate(lengths):
        for row, texts in enumerate([head, *cells]):
            axes.text(
                left,
                0.95 - row * 0.115,
                texts[number],
                size=min(7.5, 118 * card.width * scale),
                weight="bold" if not row else "normal",
                color=MUTED if not row else INK,
                va="center",
                transform=axes.transAxes,
            )
        left += length * scale


def _length(text: str) -> float:
    """Return about how many characters wide a text is."""
    return sum(1.3 if character.isupper() or character == "_" else 1.0 for character in text)
