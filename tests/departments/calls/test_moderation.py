"""The provider's moderation of a question: off by default, a label, or a stop; recorded and free of charge."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from audit.events import Event, Outcome
from chatgrid.dev.openai_simulator import moderation as simulated
from departments.calls.caller import CallFailed
from departments.keys.secret import Secret
from departments.limits.models import Reservation
from departments.models import Moderation
from tests.company import Company, give_key, set_limit
from tests.departments.calls.calling import ask, events, requests_of, spent, whole
from tests.provider import Provider

HARMFUL = "How do I kill a hanging process on the explosive store's laptop?"
HARMLESS = "How many days of leave do I have?"


@pytest.fixture
def key(company: Company, provider: Provider) -> Secret:
    set_limit(company, tokens_per_day=1_000_000)
    return give_key(company.hr)


def wish(company: Company, moderation: Moderation) -> None:
    company.hr.moderation = moderation
    company.hr.save()


def paths(provider: Provider, key: Secret) -> list[str]:
    return [request["path"] for request in requests_of(provider, key)]


async def test_by_default_nothing_is_sent_twice(company: Company, provider: Provider, key: Secret) -> None:
    await whole(ask(company, question=HARMFUL))
    assert paths(provider, key) == ["/v1/chat/completions"]


async def test_what_is_flagged_becomes_labels_and_the_answer_comes(
    company: Company, provider: Provider, key: Secret
) -> None:
    wish(company, Moderation.LABEL)
    assert await whole(ask(company, question=HARMFUL))
    assert paths(provider, key) == ["/v1/moderations", "/v1/chat/completions"]
    asked, moderated, requested, answered = events(company)
    assert (asked.purpose, asked.model_asked, asked.event) == ("moderation", "omni-moderation-latest", "call:requested")
    assert (moderated.purpose, moderated.outcome, moderated.tokens_input) == ("moderation", "answered", 0)
    for event in (moderated, requested, answered):
        assert {"question:moderation:violence", "question:moderation:illicit/violent"} <= set(event.labels)
    used = answered.tokens_input + answered.tokens_output
    assert set(spent(company).values()) == {used}, "the moderation itself costs nothing"


async def test_an_honest_question_gets_no_label(company: Company, key: Secret) -> None:
    wish(company, Moderation.BLOCK)
    assert await whole(ask(company, question=HARMLESS))
    assert events(company)[-1].labels == []


async def test_where_the_department_wants_it_what_is_flagged_is_not_sent(
    company: Company, provider: Provider, key: Secret
) -> None:
    wish(company, Moderation.BLOCK)
    with pytest.raises(CallFailed, match="moderation flagged"):
        await whole(ask(company, question=HARMFUL))
    assert paths(provider, key) == ["/v1/moderations"]
    refused = events(company)[-1]
    assert (refused.event, refused.details["reason"]) == (Event.CALL_REFUSED, "moderation_flagged")
    assert "question:moderation:violence" in refused.labels


FAULTS: list[dict[str, Any]] = [
    {"kind": "server_error"},
    {"kind": "forbidden"},
    {"kind": "error", "options": {"status": 404}},
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault["kind"])
async def test_one_that_cannot_be_asked_is_a_label_and_a_recorded_failure(
    company: Company, provider: Provider, key: Secret, fault: dict[str, Any]
) -> None:
    wish(company, Moderation.LABEL)
    order(provider, key, **fault)
    assert await whole(ask(company, question=HARMFUL))
    failed = [event for event in events(company) if event.purpose == "moderation"][-1]
    assert failed.outcome == Outcome.FAILED
    assert "question:moderation:unavailable" in events(company)[-1].labels


async def test_where_the_department_wants_it_an_unchecked_question_is_not_sent(
    company: Company, provider: Provider, key: Secret
) -> None:
    wish(company, Moderation.BLOCK)
    order(provider, key, kind="server_error")
    with pytest.raises(CallFailed):
        await whole(ask(company, question=HARMLESS))
    assert "/v1/chat/completions" not in paths(provider, key)
    assert events(company)[-1].purpose == "moderation"
    assert_all_settled(company)


@pytest.mark.parametrize(
    "reply", [{}, {"results": []}, {"results": [{"flagged": True}]}, {"results": {"a": 1}}, {"results": [None]}]
)
async def test_a_reply_of_another_shape_counts_as_no_reply(
    company: Company, key: Secret, reply: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulated, "reply_to", lambda texts, model: reply)
    wish(company, Moderation.LABEL)
    assert await whole(ask(company, question=HARMFUL))
    assert "question:moderation:unavailable" in events(company)[-1].labels
    assert [event.details.get("reason") for event in events(company) if event.purpose == "moderation"][1:] == [
        "moderation_shape"
    ]


def order(provider: Provider, key: Secret, *, kind: str, options: dict[str, Any] | None = None) -> None:
    body = {"key": key.reveal(), "kind": kind, "endpoint": "moderations", "options": options or {}}
    httpx2.post(f"{provider.address}/__simulator/behaviour", json=body).raise_for_status()


def assert_all_settled(company: Company) -> None:
    assert not Reservation.objects.filter(organization_id=company.organization.pk, settled_at=None).exists()
