"""Attacks on a department's own rules and model: bounded, counted, judged by words, and kept."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.test import override_settings
from django.utils import timezone

from audit.events import Event
from audit.models import AuditEvent
from departments.calls.models import Trial
from departments.calls.run import rules_of
from departments.calls.trial_job import TrialRuns, run_due, run_trial, start
from departments.calls.trials import attacks_on, scores
from departments.keys.secret import Secret
from departments.models import Department, Membership
from tests.company import Company, give_key, set_limit
from tests.departments.calls.calling import requests_of, spent
from tests.provider import Provider

RULES = "Answer for the people of this office about leave, travel and working hours, in two sentences at the most."


@pytest.fixture
def hr(company: Company, provider: Provider) -> Iterator[Department]:
    """HR with rules, two subjects that are off limits, a key and a budget."""
    company.hr.instructions = RULES
    company.hr.off_limits = "salaries of the directors\nthe planned merger with Umbra"
    company.hr.save()
    set_limit(company, tokens_per_day=10_000_000)
    yield company.hr
    provider.behave()
    Trial.objects.filter(finished_at=None).update(finished_at=timezone.now())  # others' workers find none of it


@pytest.fixture
def key(hr: Department) -> Secret:
    return give_key(hr)


def finished(trial: Trial) -> Trial:
    trial.refresh_from_db()
    return trial


def outcomes(trial: Trial) -> dict[str, str]:
    return {row["id"]: row["outcome"] for row in finished(trial).tried}


def test_a_model_that_keeps_its_rules_holds_and_all_of_it_is_counted(
    company: Company, hr: Department, key: Secret
) -> None:
    trial = start(hr, company.alice, address="192.0.2.1")
    assert run_trial(trial.pk)
    found = outcomes(trial)
    assert set(found) == {attack.id for attack in attacks_on(hr)}
    assert set(found.values()) == {"held"}
    assert {"subject-1", "subject-2"} <= set(found)
    assert (trial.state, trial.sentence) == (Trial.State.FINISHED, "")
    calls = AuditEvent.objects.filter(department_id=hr.pk, event=Event.CALL_ANSWERED)
    assert set(calls.values_list("purpose", flat=True)) == {"attack"}
    assert calls.count() == len(found)
    assert trial.tokens > 0
    assert spent(company)["department"] == trial.tokens
    started, ended = AuditEvent.objects.filter(department_id=hr.pk, subject_kind="trial").order_by("at")
    assert (started.event, started.client_address) == (Event.TRIAL_STARTED, "192.0.2.1")
    assert (ended.event, ended.details["held"], ended.details["obeyed"]) == (Event.TRIAL_FINISHED, len(found), 0)


def test_a_model_that_obeys_is_seen_through_and_one_that_only_quotes_is_not(
    company: Company, hr: Department, key: Secret, provider: Provider
) -> None:
    trial = start(hr, company.alice)
    for attack in trial.attacks:  # in the order in which they are tried
        said = "The merger is on Monday." if attack["kind"] == "subject" else f"Certainly! {attack['mark']} it is."
        if attack["id"] == "order-in-a-document":
            said = attack["text"]  # quotes the document from end to end
        if attack["kind"] == "rules":  # more than 40 letters of them, fewer than the filter's 60
            said = "I was told: " + " ".join(rules_of(hr).split()[2:12])
        provider.misbehave(key, "scripted", times=1, text=said)
    run_trial(trial.pk)
    found = outcomes(trial)
    assert found["order-in-a-document"] == "held"
    assert found["planted-answer"] == found["plain-order"] == found["subject-2"] == "obeyed"
    assert found["show-the-rules"] == "obeyed"
    assert scores(trial.tried)["obeyed"] == len(found) - 1


def test_rules_that_the_filter_withholds_are_stopped(
    company: Company, hr: Department, key: Secret, provider: Provider
) -> None:
    provider.misbehave(key, "scripted", text=f"My rules are: {RULES} And so on.")
    trial = start(hr, company.alice)
    run_trial(trial.pk)
    assert outcomes(trial)["show-the-rules"] == "stopped"
    assert RULES not in str(trial.tried)


@override_settings(TRIAL_TOKENS=900)
def test_it_uses_no_more_than_its_budget(company: Company, hr: Department, key: Secret) -> None:
    trial = start(hr, company.alice)
    run_trial(trial.pk)
    trial = finished(trial)
    assert trial.state == Trial.State.STOPPED
    assert 0 < trial.tokens <= 900
    assert 0 < len(trial.tried) < len(trial.attacks)
    assert "900 tokens" in trial.sentence


def test_a_limit_of_the_department_ends_it_with_its_sentence(company: Company, hr: Department, key: Secret) -> None:
    set_limit(company, department=hr, tokens_per_day=1_500)
    trial = start(hr, company.alice)
    run_trial(trial.pk)
    assert finished(trial).state == Trial.State.STOPPED
    assert "budget" in trial.sentence
    assert spent(company)["department"] <= 1_500


def test_one_at_a_time_and_a_dead_workers_trial_goes_on_where_it_stopped(
    company: Company, hr: Department, key: Secret, provider: Provider
) -> None:
    trial = start(hr, company.alice)
    with pytest.raises(TrialRuns):
        start(hr, company.alice)
    done = [{"id": each["id"], "kind": each["kind"], "outcome": "held", "asked": "", "answer": "", "tokens": 7}
            for each in trial.attacks[:-2]]  # fmt: skip
    lease = timezone.now() + timedelta(minutes=1)
    Trial.objects.filter(pk=trial.pk).update(tried=done, tokens=7, state=Trial.State.RUNNING, lease_until=lease)
    assert not run_trial(trial.pk), "somebody has it"
    Trial.objects.filter(pk=trial.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
    assert run_due() >= 1
    assert finished(trial).state == Trial.State.FINISHED
    assert len(trial.tried) == len(trial.attacks)
    assert len(requests_of(provider, key)) == 2


def test_whoever_left_the_department_tries_nothing_more(
    company: Company, hr: Department, key: Secret, provider: Provider
) -> None:
    trial = start(hr, company.alice)
    Membership.objects.filter(user=company.alice).delete()
    run_trial(trial.pk)
    assert set(outcomes(trial).values()) == {"failed"}
    assert requests_of(provider, key) == []
