"""Values become the words of a page."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from chatgrid.chat.templatetags.words import by_day, thousands

BERLIN = ZoneInfo("Europe/Berlin")


@dataclass(frozen=True)
class Row:
    updated_at: datetime


def test_a_day_is_one_on_the_organizations_own_clock() -> None:
    now = datetime(2026, 11, 23, 0, 30, tzinfo=BERLIN)  # the day before, in UTC
    today = Row(datetime(2026, 11, 22, 23, 10, tzinfo=UTC))
    yesterday = Row(datetime(2026, 11, 22, 22, 50, tzinfo=UTC))
    earlier = [Row(datetime(2026, 11, 21, 20, 0, tzinfo=UTC)), Row(datetime(2025, 11, 23, 0, 0, tzinfo=UTC))]
    assert by_day([today, yesterday, *earlier], now) == [
        ("Today", [today]),
        ("Yesterday", [yesterday]),
        ("Earlier", earlier),
    ]


def test_a_page_without_a_frame_has_no_history() -> None:
    assert by_day([Row(datetime(2026, 11, 22, tzinfo=UTC))], None) == []


def test_large_numbers_are_readable() -> None:
    assert [thousands(number) for number in (0, 999, 1_234_567)] == ["0", "999", "1,234,567"]
    assert thousands(None) == "0"
