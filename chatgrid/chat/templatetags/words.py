"""Filters that turn values into the words of a page."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import groupby
from typing import Protocol, TypeVar

from django import template

from departments.calls.sentences import dollars

register = template.Library()


class Dated(Protocol):
    """Something with the moment it last changed."""

    updated_at: datetime


AnyDated = TypeVar("AnyDated", bound=Dated)


@register.filter
def by_day(rows: Iterable[AnyDated], now: datetime | None) -> list[tuple[str, list[AnyDated]]]:
    """The rows (newest first) below "Today", "Yesterday" and "Earlier"; a day is one in the time zone of `now`."""
    if now is None:
        return []
    return [(day, list(group)) for day, group in groupby(rows, lambda row: _day(row.updated_at, now))]


@register.filter
def thousands(number: int | None) -> str:
    """12345 as "12,345"."""
    return f"{number or 0:,}"


@register.filter
def amount(value: int | Decimal | None, measure: str) -> str:
    """A figure of a budget: "12,345 tokens", or "$12.30"."""
    return dollars(value or 0) if measure == "money" else f"{int(value or 0):,} tokens"


def _day(moment: datetime, now: datetime) -> str:
    date = moment.astimezone(now.tzinfo).date()
    if date >= now.date():
        return "Today"
    return "Yesterday" if date == now.date() - timedelta(days=1) else "Earlier"
