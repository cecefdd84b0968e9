"""Small charts that the server draws as SVG: columns over time, lines over time, and rankings with a bar each.

Make one in the view and include its template where it belongs; the console's frame brings the stylesheet:

    chart = columns("Tokens by day", ["2026-11-22", "2026-11-23"], [Series("In", [900, 1200])], unit="tokens")
    {% include "console/_chart.html" with chart=chart only %}

Rules:
- A chart has no script, no style of its own and no picture of text: colours and dashes are classes of charts.css, so
  both themes and a strict policy hold, and it fits any width from 320 px on without its words shrinking.
- Whatever is drawn can be read: a title, a sentence with the main figures, and a table with every figure.
- Several series of columns are stacked. More than `MOST_SERIES` are refused: fold the smallest into one before.
- Titles on one page differ from each other, because the ids that name a chart come from them.
- Values are numbers from zero up; None is a gap in a line and nothing in a column.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from django.utils.text import slugify

Number = int | float | Decimal

DOLLARS = "US$"  # the one unit that stands before its number
MOST_SERIES = 6
HEIGHT = 200  # of the plot, in CSS pixels; the words below it have `FOOT` more
FOOT = 24
HEAD = 10  # above the highest line, for its number
GAP = 0.22  # of a column's width
WORDS_BELOW = 3


@dataclass(frozen=True)
class Series:
    """One thing that is counted: its name in the legend and a value for each label, None where there is none."""

    name: str
    values: Sequence[Number | None]


@dataclass(frozen=True)
class Entry:
    """One row of a ranking: what it is called, a value a part, and where a click on the name leads."""

    label: str
    values: Sequence[Number]
    url: str = ""


@dataclass(frozen=True)
class Bar:
    """A rectangle: x and width as shares of the plot ("12.5%"), y and height in pixels; `series` counts from 1."""

    series: int
    x: str
    width: str
    y: str
    height: str
    words: str


@dataclass(frozen=True)
class Stroke:
    """A line as an SVG path, x from 0 to 100 and y in pixels; a gap begins a new piece, a point alone is a dot."""

    series: int
    path: str


@dataclass(frozen=True)
class Tick:
    """A number of the scale, or a label below the plot; `minor` ones give way on a phone."""

    text: str
    x: str = ""
    y: str = ""
    anchor: str = "middle"
    minor: bool = False


@dataclass(frozen=True)
class Row:
    """A line of the table: the label, the figures in words, and a ranking's bars and link."""

    label: str
    cells: Sequence[str]
    bars: Sequence[Bar] = ()
    url: str = ""


@dataclass(frozen=True)
class Chart:
    """Everything that console/_chart.html puts on the page. Made by `columns`, `lines` and `ranking`."""

    kind: str
    title: str
    sentence: str
    names: Sequence[str]
    rows: Sequence[Row]
    first_column: str = "Day"
    bars: Sequence[Bar] = ()
    strokes: Sequence[Stroke] = ()
    scale: Sequence[Tick] = ()
    words: Sequence[Tick] = ()
    height: int = HEAD + HEIGHT + FOOT

    @property
    def slug(self) -> str:
        return f"chart-{slugify(self.title)}"

    @property
    def is_empty(self) -> bool:
        return not any((self.bars, self.strokes, any(row.bars for row in self.rows)))


def columns(
    title: str, labels: Sequence[str], series: Sequence[Series], *, unit: str = "", first_column: str = "Day"
) -> Chart:
    """A column a label; several series stand on one another. ValueError where the values do not fit the labels."""
    _check(len(labels), series)
    sums = [sum((_value(each.values[place]) for each in series), 0.0) for place in range(len(labels))]
    steps = _steps(max(sums, default=0.0), whole=unit != DOLLARS)
    return Chart(
        kind="columns",
        title=title,
        sentence=_sentence_of_columns(labels, sums, unit),
        names=[each.name for each in series],
        rows=_rows(labels, series, unit),
        first_column=first_column,
        bars=_columns(labels, series, steps[-1], unit),
        scale=_scale(steps, unit),
        words=_words(labels),
    )


def lines(
    title: str, labels: Sequence[str], series: Sequence[Series], *, unit: str = "", first_column: str = "Day"
) -> Chart:
    """A line a series, each with dashes of its own, so that colour is not all that tells them apart."""
    _check(len(labels), series)
    highest = max((_value(value) for each in series for value in each.values), default=0.0)
    steps = _steps(highest, whole=unit != DOLLARS)
    strokes = [stroke for number, each in enumerate(series, 1) for stroke in _strokes(number, each, steps[-1])]
    return Chart(
        kind="lines",
        title=title,
        sentence=_sentence_of_lines(labels, series, unit),
        names=[each.name for each in series],
        rows=_rows(labels, series, unit),
        first_column=first_column,
        strokes=strokes,
        scale=_scale(steps, unit),
        words=_words(labels),
    )


def ranking(title: str, names: Sequence[str], entries: Sequence[Entry], *, unit: str = "", first_column: str) -> Chart:
    """A table whose rows carry a bar, in the order given; `names` are the parts of which each value is one."""
    _check(len(names), [Series(entry.label, entry.values) for entry in entries], most=None)
    if len(names) > MOST_SERIES:
        raise ValueError(f"{len(names)} parts cannot be told apart: {MOST_SERIES} at most.")
    highest = max((sum(map(_value, entry.values)) for entry in entries), default=0.0)
    return Chart(
        kind="ranking",
        title=title,
        sentence=_sentence_of_ranking(entries, unit),
        names=names,
        rows=[_ranked(entry, highest, unit) for entry in entries],
        first_column=first_column,
    )


def compact(value: Number, unit: str = "") -> str:
    """A number for a scale: 1250 is "1.25k", 3,000,000 is "3M"; dollars carry their sign."""
    size = float(value)
    for limit, letter in ((1e9, "bn"), (1e6, "M"), (1e3, "k")):
        if size >= limit:
            return _with_sign(f"{size / limit:.2f}".rstrip("0").rstrip(".") + letter, unit)
    return _with_sign(f"{size:.4f}".rstrip("0").rstrip("."), unit)


def in_full(value: Number | None, unit: str = "") -> str:
    """A number for a table: with every digit that counts, and its unit. A dash where there is none."""
    if value is None:
        return "–"
    if unit == DOLLARS:
        digits = 2 if value == 0 or value >= 1 else 4
        return f"{DOLLARS}{value:,.{digits}f}"
    number = f"{value:,}" if isinstance(value, int) else f"{value:,.2f}".rstrip("0").rstrip(".")
    return f"{number} {unit}".strip()


def _check(labels: int, series: Sequence[Series], most: int | None = MOST_SERIES) -> None:
    if most is not None and len(series) > most:
        raise ValueError(f"{len(series)} series cannot be told apart: fold them into {most} before.")
    for each in series:
        if len(each.values) != labels:
            raise ValueError(f"“{each.name}” has {len(each.values)} values for {labels} labels.")
        if any(value is not None and not 0 <= value < math.inf for value in each.values):
            raise ValueError(f"“{each.name}” has a value that is below zero or no number.")


def _value(value: Number | None) -> float:
    return 0.0 if value is None else float(value)


def _steps(highest: float, *, whole: bool) -> list[float]:
    """The numbers of the scale, from 0 to the first round one that is not below `highest`; two to six of them."""
    if highest <= 0:
        return [0.0, 1.0]
    rough = highest / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough)
    if whole:
        step = max(1.0, math.ceil(step))
    return [step * number for number in range(math.ceil(highest / step - 1e-9) + 1)]


def _scale(steps: Sequence[float], unit: str) -> list[Tick]:
    return [Tick(compact(step, unit), y=_pixels(_height(step, steps[-1]))) for step in steps]


def _height(value: float, top: float) -> float:
    """How far down from the upper edge a value lies, in pixels."""
    return HEAD + HEIGHT * (1 - value / top)


def _columns(labels: Sequence[str], series: Sequence[Series], top: float, unit: str) -> list[Bar]:
    width = 100 / max(1, len(labels))
    made = []
    for place, label in enumerate(labels):
        below = 0.0
        for number, each in enumerate(series, 1):
            value = _value(each.values[place])
            if value > 0:
                upper = _height(below + value, top)
                # what is there can be seen, however little it is
                high = max(1.0, _height(below, top) - upper)
                words = f"{label}: {each.name} {in_full(each.values[place], unit)}"
                x, wide = width * (place + GAP / 2), width * (1 - GAP)
                made.append(Bar(number, _share(x), _share(wide), _pixels(upper), _pixels(high), words))
            below += value
    return made


def _strokes(number: int, series: Series, top: float) -> list[Stroke]:
    width = 100 / max(1, len(series.values))
    pieces, pen = [], "M"
    for place, value in enumerate(series.values):
        if value is None:
            pen = "M"
            continue
        point = f"{_pixels(width * (place + 0.5))} {_pixels(_height(_value(value), top))}"
        # a piece of no length has round ends, so a point between two gaps is seen
        pieces.append(f"{pen}{point}" + (f"L{point}" if pen == "M" else ""))
        pen = "L"
    return [Stroke(number, "".join(pieces))] if pieces else []


def _words(labels: Sequence[str]) -> list[Tick]:
    """Labels below the plot: the first and the last always, a few between them where there is room."""
    last = len(labels) - 1
    chosen = sorted({round(last * part / (WORDS_BELOW - 1)) for part in range(WORDS_BELOW)}) if labels else []
    width = 100 / max(1, len(labels))
    made = []
    for place in chosen:
        x, anchor = _place_of_word(place, last, width)
        at = _pixels(HEAD + HEIGHT + FOOT - 6)
        made.append(Tick(labels[place], x=_share(x), y=at, anchor=anchor, minor=place not in {0, last}))
    return made


def _place_of_word(place: int, last: int, width: float) -> tuple[float, str]:
    if last == 0:
        return 50, "middle"
    if place == 0:
        return 0, "start"
    return (100, "end") if place == last else (width * (place + 0.5), "middle")


def _rows(labels: Sequence[str], series: Sequence[Series], unit: str) -> list[Row]:
    return [Row(label, [_cell(each.values[place], unit) for each in series]) for place, label in enumerate(labels)]


def _cell(value: Number | None, unit: str) -> str:
    """A figure of a table, whose title and sentence say the unit."""
    return in_full(value, unit if unit == DOLLARS else "")


def _ranked(entry: Entry, highest: float, unit: str) -> Row:
    made, x = [], 0.0
    for number, value in enumerate(entry.values, 1):
        width = 100 * float(value) / highest if highest else 0.0
        if width:
            made.append(Bar(number, _share(x), _share(width), "0", "8", ""))
        x += width
    return Row(entry.label, [_cell(value, unit) for value in entry.values], made, entry.url)


def _sentence_of_columns(labels: Sequence[str], sums: Sequence[float], unit: str) -> str:
    if not any(sums):
        return "Nothing was counted."
    place = max(range(len(sums)), key=sums.__getitem__)
    return (
        f"From {labels[0]} to {labels[-1]}: {_rounded(sum(sums), unit)} in all,"
        f" most on {labels[place]} with {_rounded(sums[place], unit)}."
    )


def _sentence_of_lines(labels: Sequence[str], series: Sequence[Series], unit: str) -> str:
    peaks = []
    for each in series:
        known = [place for place, value in enumerate(each.values) if value is not None]
        if known:
            place = max(known, key=lambda at, each=each: _value(each.values[at]))  # type: ignore[misc]
            peaks.append(f"{each.name} at most {in_full(each.values[place], unit)} ({labels[place]})")
    return f"From {labels[0]} to {labels[-1]}: {', '.join(peaks)}." if peaks else "Nothing was counted."


def _sentence_of_ranking(entries: Sequence[Entry], unit: str) -> str:
    sums = [sum(map(_value, entry.values)) for entry in entries]
    if not any(sums):
        return "Nothing was counted."
    place = max(range(len(sums)), key=sums.__getitem__)
    return f"Most: {entries[place].label} with {_rounded(sums[place], unit)}."


def _rounded(value: float, unit: str) -> str:
    return in_full(value if unit == DOLLARS or not value.is_integer() else int(value), unit)


def _with_sign(number: str, unit: str) -> str:
    return f"{DOLLARS}{number}" if unit == DOLLARS else number


def _share(number: float) -> str:
    return f"{number:.3f}".rstrip("0").rstrip(".") + "%"


def _pixels(number: float) -> str:
    return f"{number:.2f}".rstrip("0").rstrip(".")
