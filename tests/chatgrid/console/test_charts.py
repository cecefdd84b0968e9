"""Charts: what is drawn is what was counted, everything drawn can be read, and no name can break out of the page."""

from __future__ import annotations

import re
from decimal import Decimal
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from django.template.loader import render_to_string

from chatgrid.console.charts import (
    DOLLARS,
    HEAD,
    HEIGHT,
    MOST_SERIES,
    Chart,
    Entry,
    Series,
    columns,
    compact,
    in_full,
    lines,
    ranking,
)

DAYS = ["2026-11-20", "2026-11-21", "2026-11-22"]
HOSTILE = "</title><script>window.ran = 1</script>\"'&"


def drawn(chart: Chart) -> ElementTree.Element:
    """The chart as it stands on a page. Parsing fails where anything is not closed or not escaped."""
    return ElementTree.fromstring(render_to_string("console/_chart.html", {"chart": chart}))  # noqa: S314 our own page


def share(text: str) -> float:
    return float(text.removesuffix("%"))


def test_columns_are_as_high_as_their_share_of_the_scale() -> None:
    chart = columns("Calls", DAYS, [Series("Calls", [50, 100, 25])])
    assert chart.scale[-1].text == "100"
    assert [float(bar.height) for bar in chart.bars] == [HEIGHT / 2, HEIGHT, HEIGHT / 4]
    assert {float(bar.y) + float(bar.height) for bar in chart.bars} == {HEAD + HEIGHT}


def test_several_series_stand_on_one_another_without_a_gap() -> None:
    chart = columns("Tokens", DAYS[:1], [Series("In", [60]), Series("Out", [40])])
    lower, upper = chart.bars
    assert float(upper.y) + float(upper.height) == float(lower.y)
    assert lower.x == upper.x
    assert (lower.series, upper.series) == (1, 2)


def test_columns_lie_side_by_side_within_the_plot() -> None:
    labels = [f"day {number}" for number in range(366)]
    chart = columns("A year", labels, [Series("Calls", [1] * 366)])
    ends = [(share(bar.x), share(bar.x) + share(bar.width)) for bar in chart.bars]
    assert all(before[1] < after[0] for before, after in pairwise(ends))
    assert ends[0][0] > 0
    assert ends[-1][1] < 100


def test_what_is_little_is_still_seen_and_nothing_is_not_drawn() -> None:
    chart = columns("Calls", DAYS, [Series("Calls", [1, 1_000_000, 0])])
    assert chart.bars[0].height == "1"
    assert len(chart.bars) == 2


@pytest.mark.parametrize(
    ("highest", "top"), [(1, "1"), (7, "8"), (100, "100"), (1_234, "1.5k"), (9_999_999, "10M"), (2e9, "2bn")]
)
def test_the_scale_ends_at_a_round_number_that_nothing_exceeds(highest: float, top: str) -> None:
    chart = columns("Calls", DAYS[:1], [Series("Calls", [highest])])
    assert chart.scale[-1].text == top
    assert 2 <= len(chart.scale) <= 6
    assert float(chart.bars[0].y) >= HEAD


def test_a_scale_of_calls_counts_whole_ones_and_one_of_dollars_does_not() -> None:
    assert [tick.text for tick in columns("Calls", DAYS[:1], [Series("Calls", [2])]).scale] == ["0", "1", "2"]
    cost = columns("Cost", DAYS[:1], [Series("Cost", [Decimal("0.02")])], unit=DOLLARS)
    assert [tick.text for tick in cost.scale] == ["US$0", "US$0.005", "US$0.01", "US$0.015", "US$0.02"]


def test_a_line_has_a_gap_where_nothing_was_measured_and_a_dot_for_a_point_alone() -> None:
    chart = lines("Latency", [*DAYS, "x", "y"], [Series("p50", [10, 20, None, 40, None])], unit="ms")
    path = chart.strokes[0].path
    assert path.count("M") == 2
    last = path.rpartition("M")[2]
    start, _, end = last.partition("L")
    assert start == end


def test_a_ranking_s_longest_row_is_as_wide_as_the_page_and_its_parts_follow_one_another() -> None:
    chart = ranking(
        "Tokens by department",
        ["In", "Out"],
        [Entry("HR", [60, 40], "/hr/"), Entry("Finance", [25, 0])],
        unit="tokens",
        first_column="Department",
    )
    first, second = chart.rows
    assert [(bar.x, bar.width) for bar in first.bars] == [("0%", "60%"), ("60%", "40%")]
    assert [(bar.x, bar.width) for bar in second.bars] == [("0%", "25%")]
    link = drawn(chart).find(".//th/a")
    assert link is not None
    assert link.get("href") == "/hr/"


@pytest.mark.parametrize("kind", [columns, lines])
def test_everything_drawn_can_be_read(kind: type[object]) -> None:
    chart: Chart = kind("Calls by day", DAYS, [Series("Chat", [5, 9, 1]), Series("Search", [1, 2, None])])  # type: ignore[call-arg]
    page = drawn(chart)
    picture = page.find(".//svg[@role='img']")
    assert picture is not None
    names = {part.get("id"): part.text for part in picture if part.tag in {"title", "desc"}}
    assert [names[name] for name in picture.get("aria-labelledby", "").split()] == [chart.title, chart.sentence]
    cells = [[cell.text for cell in row] for row in page.findall(".//tbody/tr")]
    assert cells == [[DAYS[0], "5", "1"], [DAYS[1], "9", "2"], [DAYS[2], "1", "–"]]
    assert {item[0].tail for item in page.findall(".//figcaption/ul/li")} == {"Chat", "Search"}


def test_the_sentence_says_the_main_figures() -> None:
    assert columns("A", DAYS, [Series("A", [5, 9, 1])], unit="calls").sentence == (
        "From 2026-11-20 to 2026-11-22: 15 calls in all, most on 2026-11-21 with 9 calls."
    )
    assert "p50 at most 9 ms (2026-11-21)" in lines("A", DAYS, [Series("p50", [5, 9, None])], unit="ms").sentence
    entries = [Entry("HR", [1]), Entry("Finance", [2])]
    assert ranking("A", ["A"], entries, first_column="Department").sentence == "Most: Finance with 2."


@pytest.mark.parametrize(
    "chart",
    [
        columns("Nothing", [], []),
        columns("Zero", DAYS, [Series("Calls", [0, 0, None])]),
        lines("Nothing", DAYS, [Series("p50", [None, None, None])]),
        ranking("Nobody", ["Calls"], [], first_column="Person"),
    ],
)
def test_a_chart_of_nothing_says_so(chart: Chart) -> None:
    page = drawn(chart)
    assert chart.is_empty
    assert "Nothing was counted." in "".join(page.itertext())
    assert page.find(".//svg") is None


@pytest.mark.parametrize("kind", ["columns", "lines", "ranking"])
def test_no_name_breaks_out_and_nothing_of_it_is_style_or_script(kind: str) -> None:
    series = [Series(HOSTILE, [1, 2, 3]), Series("b", [1, 1, 1])]
    charts = {
        "columns": columns(HOSTILE, [HOSTILE] * 3, series, unit=HOSTILE),
        "lines": lines(HOSTILE, [HOSTILE] * 3, series, unit=HOSTILE),
        "ranking": ranking(HOSTILE, [HOSTILE], [Entry(HOSTILE, [1])], first_column=HOSTILE),
    }
    text = render_to_string("console/_chart.html", {"chart": charts[kind]})
    assert not re.search(r"<script|\sstyle=|\son\w+=", text)
    assert HOSTILE in "".join(drawn(charts[kind]).itertext())


@pytest.mark.parametrize("values", [[1, 2], [1, 2, -3], [1, 2, float("nan")], [1, 2, float("inf")]])
def test_values_that_do_not_fit_are_refused(values: list[float]) -> None:
    for kind in (columns, lines):
        with pytest.raises(ValueError, match="Broken"):
            kind("A", DAYS, [Series("Broken", values)])


def test_more_series_than_can_be_told_apart_are_refused() -> None:
    many = [Series(str(number), [1]) for number in range(MOST_SERIES + 1)]
    with pytest.raises(ValueError, match="fold them"):
        columns("A", ["a"], many)
    with pytest.raises(ValueError, match="told apart"):
        ranking("A", [each.name for each in many], [Entry("a", [1] * len(many))], first_column="Person")


def test_numbers_are_short_on_a_scale_and_whole_in_a_table() -> None:
    assert [compact(number) for number in (0, 0.25, 999, 1_250, 3_000_000)] == ["0", "0.25", "999", "1.25k", "3M"]
    assert compact(1_500, DOLLARS) == "US$1.5k"
    assert in_full(1_234_567, "tokens") == "1,234,567 tokens"
    assert in_full(Decimal("0.00123456"), DOLLARS) == "US$0.0012"
    assert in_full(Decimal("1234.5"), DOLLARS) == "US$1,234.50"
    assert in_full(None, "tokens") == "–"
