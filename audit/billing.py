"""The money side of reconciliation: what the provider bills against what the record says the calls cost.

Rules:
- Compared per project, key, model and UTC day, as the usage is; a line item such as "gpt-6-luna, input_tokens" begins
  with its model. Bills are up to a day late, so a day is compared once it is complete.
- A difference in usage explains its difference in money: it keeps the reason. What is left is a price that the
  catalogue does not have.
- What a leak cost is the bill less our own calls, once the bill is complete. Before that it is worked out from what the
  record says a token of this model costs: about so much.
- Below a cent, or one part in a hundred, nothing is said: prices are rounded.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Protocol

from audit.differences import Difference, Place, Reason
from audit.reconciliation import KnownKey, Logged, family, is_complete, reason_of_place

LEAST, SHARE = Decimal("0.01"), Decimal("0.01")


class Billed(Protocol):
    """A line of the provider's bill for one day. Matches departments.keys.admin_values.Cost."""

    @property
    def start(self) -> datetime: ...
    @property
    def project_id(self) -> str: ...
    @property
    def key_id(self) -> str: ...
    @property
    def line_item(self) -> str: ...
    @property
    def amount(self) -> Decimal: ...


Amounts = Mapping[Place, Decimal]


def billed_amounts(bill: Iterable[Billed]) -> Amounts:
    """The bill by project, key, model and day, in US dollars."""
    sums: dict[Place, Decimal] = defaultdict(Decimal)
    for line in bill:
        model = family(line.line_item.partition(",")[0].strip())
        sums[line.project_id, line.key_id, model, line.start.astimezone(UTC).date()] += line.amount
    return dict(sums)


def own_amounts(logged: Iterable[Logged]) -> Amounts:
    """The same of the record's calls."""
    sums: dict[Place, Decimal] = defaultdict(Decimal)
    for row in logged:
        sums[_place_of(row)] += row.cost
    return dict(sums)


def with_amounts(
    differences: Iterable[Difference], logged: Sequence[Logged], billed: Amounts, now: datetime
) -> list[Difference]:
    """The same differences, each with what is known of its money."""
    ours, prices = own_amounts(logged), _prices(logged)
    return [_with_amount(each, ours, billed, prices, now) for each in differences]


def _with_amount(
    difference: Difference, ours: Amounts, billed: Amounts, prices: Mapping[str, Decimal], now: datetime
) -> Difference:
    place = difference.place
    known = billed[place] - ours.get(place, Decimal(0)) if place in billed else None
    if known is not None and is_complete(difference.day, now):
        return replace(difference, amount=known, is_billed=True)
    price = prices.get(difference.model)
    worked_out = None if price is None else price * max(0, difference.input_tokens + difference.output_tokens)
    amounts = [amount for amount in (known, worked_out) if amount is not None]
    return replace(difference, amount=max(amounts, default=None))


def compare_bill(
    differences: Iterable[Difference],
    logged: Sequence[Logged],
    billed: Amounts,
    keys: Sequence[KnownKey],
    now: datetime,
) -> list[Difference]:
    """Places where only the money differs, on complete days; those that differ in usage are in `differences`."""
    ours = own_amounts(logged)
    explained = {each.place for each in differences}
    estimated = {_place_of(row) for row in logged if row.estimated}
    found = []
    for place in sorted({*ours, *billed} - explained):
        amount = billed.get(place, Decimal(0)) - ours.get(place, Decimal(0))
        largest = max(billed.get(place, Decimal(0)), ours.get(place, Decimal(0)))
        if is_complete(place[3], now) and abs(amount) > max(LEAST, largest * SHARE):
            reason = _reason(place, keys, is_estimated=place in estimated)
            found.append(Difference(reason, *place, 0, 0, 0, amount=amount, is_billed=True))
    return found


def _reason(place: Place, keys: Sequence[KnownKey], *, is_estimated: bool) -> Reason:
    foreign = reason_of_place(place, keys)
    if foreign is not None:
        return foreign
    return Reason.ESTIMATED if is_estimated else Reason.PRICE


def _place_of(row: Logged) -> Place:
    return row.project_id, row.key_id, family(row.model), row.start.astimezone(UTC).date()


def _prices(logged: Iterable[Logged]) -> dict[str, Decimal]:
    """US dollars a token of each model, as our own calls have it."""
    tokens: dict[str, int] = defaultdict(int)
    spent: dict[str, Decimal] = defaultdict(Decimal)
    for row in logged:
        tokens[family(row.model)] += row.input_tokens + row.output_tokens
        spent[family(row.model)] += row.cost
    return {model: spent[model] / count for model, count in tokens.items() if count and spent[model]}
