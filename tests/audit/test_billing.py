"""The bill against the record's own costs: what a leak cost, and where only the price differs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from audit.billing import billed_amounts, compare_bill, with_amounts
from audit.differences import Difference, Reason
from audit.reconciliation import KnownKey, Logged, compare

DAY = datetime(2026, 11, 20, tzinfo=UTC)
LATER = DAY + timedelta(days=5)
KEY = KnownKey("f" * 16, "key_1", "proj_1")
MODEL = "gpt-6-luna"


@dataclass(frozen=True)
class Line:
    """A line of a bill."""

    amount: Decimal
    item: str = "input_tokens"
    model: str = MODEL
    key_id: str = KEY.key_id
    project_id: str = KEY.project_id
    start: datetime = DAY

    @property
    def line_item(self) -> str:
        return f"{self.model}, {self.item}"


def row(requests: int = 3, cost: str = "1.00", estimated: int = 0) -> Logged:
    start = DAY + timedelta(hours=10)
    return Logged(start, "proj_1", "key_1", MODEL, requests, 900, 100, estimated, Decimal(cost))


def money(ours: list[Logged], theirs: list[Logged], *lines: Line, now: datetime = LATER) -> list[Difference]:
    billed = billed_amounts(lines)
    differences = with_amounts(compare(ours, theirs, [KEY], now), ours, billed, now)
    return differences + compare_bill(differences, ours, billed, [KEY], now)


def test_the_same_money_is_no_difference() -> None:
    assert money([row()], [row()], Line(Decimal("0.60")), Line(Decimal("0.40"), "output_tokens")) == []


def test_a_cent_or_one_in_a_hundred_is_rounding() -> None:
    assert money([row(cost="0.002")], [row(cost="0.002")], Line(Decimal("0.011"))) == []
    assert money([row(cost="100")], [row(cost="100")], Line(Decimal("100.9"))) == []


def test_another_price_is_named_and_no_alarm() -> None:
    (found,) = money([row()], [row()], Line(Decimal("1.50")))
    assert (found.reason, found.amount, found.is_alarm) == (Reason.PRICE, Decimal("0.50"), False)


def test_a_bill_below_our_own_costs_is_named_with_its_sign() -> None:
    (found,) = money([row()], [row()], Line(Decimal("0.40")))
    assert (found.reason, found.amount) == (Reason.PRICE, Decimal("-0.60"))
    assert str(found).endswith("-$0.60")


def test_a_bill_names_the_version_and_a_call_that_broke_off_only_the_model() -> None:
    assert money([row()], [row()], Line(Decimal("1.00"), model=f"{MODEL}-2026-08-01")) == []


def test_an_estimated_call_explains_another_bill() -> None:
    (found,) = money([row(estimated=1)], [row()], Line(Decimal("1.50")))
    assert found.reason is Reason.ESTIMATED


def test_a_bill_that_is_not_complete_is_not_compared() -> None:
    assert money([row()], [row()], Line(Decimal("0.10")), now=DAY + timedelta(hours=30)) == []


def test_a_leak_s_amount_is_the_bill_less_our_own_calls() -> None:
    (found,) = money([row()], [row(requests=9)], Line(Decimal("4.50")))
    assert (found.reason, found.amount, found.is_billed) == (Reason.LEAKED_KEY, Decimal("3.50"), True)
    assert str(found).endswith("$3.50")


def test_before_the_bill_is_complete_the_amount_is_worked_out_from_our_own_price() -> None:
    theirs = Logged(DAY + timedelta(hours=10), "proj_1", "key_1", MODEL, 9, 1800, 200)
    (found,) = money([row()], [theirs], now=DAY + timedelta(hours=20))
    assert (found.reason, found.amount, found.is_billed) == (Reason.LEAKED_KEY, Decimal("1.000"), False)
    assert str(found).endswith("about $1.00")


def test_a_leak_on_a_model_that_we_never_used_has_no_price_before_its_bill() -> None:
    theirs = Logged(DAY, "proj_1", "key_1", "gpt-6.2-sol", 1, 10, 10)
    (found,) = money([row()], [row(), theirs], Line(Decimal("1.00")), now=DAY + timedelta(hours=20))
    assert found.amount is None


def test_a_bill_of_a_key_that_is_not_ours_is_named_as_such() -> None:
    (found,) = money([row()], [row()], Line(Decimal("1.00")), Line(Decimal("2.00"), key_id="key_other"))
    assert (found.reason, found.key_id) == (Reason.FOREIGN_KEY, "key_other")


def test_a_difference_survives_its_way_through_the_record() -> None:
    (found,) = money([row()], [row(requests=9)], Line(Decimal("4.50")))
    assert Difference.from_json(found.as_json()) == found
