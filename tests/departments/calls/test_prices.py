"""What a call costs: as the provider's own formula has it, to the last digit, and never more than reserved."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.events import Event
from audit.models import AuditEvent
from departments.calls.models import CatalogueModel
from departments.limits.models import Reservation
from tests.company import Company, give_key
from tests.departments.calls.calling import ask, whole
from tests.provider import Provider

SOL = CatalogueModel(
    name="sol",
    kind="chat",
    context_tokens=922_000,
    price_input=Decimal(2),
    price_cached=Decimal("0.10"),
    price_cache_write=Decimal("2.50"),
    price_output=Decimal(10),
    long_prompt_tokens=272_000,
)


@pytest.mark.parametrize(
    ("prompt", "cached", "written", "output", "dollars"),
    [
        (1_000, 0, 0, 500, "0.007"),
        (10_000, 8_192, 0, 100, "0.0054352"),  # 1,808 fresh and 8,192 cached
        (10_000, 0, 8_192, 100, "0.025096"),  # 1,808 fresh and 8,192 written
        (10_000, 4_096, 4_096, 7, "0.0143356"),
        (272_000, 0, 0, 1_000, "0.554"),
        (272_001, 0, 0, 1_000, "1.103004"),  # all of it: twice the input, one and a half times the output
        (300_000, 200_000, 0, 1_000, "0.455"),
        (0, 0, 0, 0, "0"),
    ],
)
def test_a_call_costs_what_the_formula_says(prompt: int, cached: int, written: int, output: int, dollars: str) -> None:
    assert SOL.cost(prompt, cached, output, written) == Decimal(dollars)


def test_a_price_that_is_not_set_is_that_of_the_input_and_without_that_nothing_is_known() -> None:
    plain = CatalogueModel(name="plain", kind="chat", price_input=Decimal(1), price_output=Decimal(2))
    assert plain.cost(10, 4, 3, 4) == Decimal("0.000016")
    assert plain.dearest(10**6) == (1, 2)
    unknown = CatalogueModel(name="unknown", kind="chat")
    assert unknown.cost(10, 0, 3) is None
    assert unknown.dearest(10) == (None, None)


@given(st.integers(0, 900_000), st.integers(0, 128_000), st.data())
def test_no_division_of_a_prompt_costs_more_than_was_reserved(prompt: int, output: int, data: st.DataObject) -> None:
    cached = data.draw(st.integers(0, prompt))
    written = data.draw(st.integers(0, prompt - cached))
    sent, answered = SOL.dearest(prompt)
    assert sent is not None
    assert answered is not None
    cost = SOL.cost(prompt, cached, output, written)
    assert cost is not None
    assert cost <= (prompt * sent + output * answered) / 1_000_000


def test_the_first_catalogue_knows_what_writing_to_the_cache_costs() -> None:
    rows = CatalogueModel.objects.filter(kind="chat", price_cache_write__isnull=False)
    dearer = {model.name: model.price_cache_write / model.price_input for model in rows}
    assert dearer == dict.fromkeys(("gpt-6.2-sol", "gpt-6.1-sol", "gpt-6.1-terra", "gpt-6-luna"), Decimal("1.25"))


async def test_what_is_written_to_the_cache_is_booked_and_recorded(company: Company, provider: Provider) -> None:
    key = give_key(company.hr)
    provider.misbehave(key, "scripted", text="Thirty days.", reasoning_tokens=12, cache_write_tokens=5)
    await whole(ask(company))
    event = await AuditEvent.objects.aget(organization_id=company.organization.pk, event=Event.CALL_ANSWERED)
    assert event.details["tokens_cache_written"] == 5
    luna = await CatalogueModel.objects.aget(name=company.hr.model)
    assert luna.price_cache_write == Decimal("0.125")
    more = 5 * (luna.price_cache_write - luna.price_input) / 1_000_000
    plain = luna.cost(event.tokens_input, 0, event.tokens_output)
    assert plain is not None
    booked = (plain + more).quantize(Decimal("1e-8"), ROUND_HALF_UP)
    assert event.cost == booked, "reasoning is a part of the output and not paid twice"
    reservation = await Reservation.objects.aget(call_id=event.call_id)
    assert reservation.cost_used == event.cost
    assert reservation.price_input == luna.price_cache_write, "reserved as if all of it were written"
    assert event.cost <= reservation.cost_reserved
