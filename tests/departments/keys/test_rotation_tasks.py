"""The rotator's tasks and its command: what they pass on to the broker, and what a person at the terminal sees."""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from kombu.exceptions import OperationalError

from departments.keys import rotation as rotating
from departments.keys import tasks
from departments.keys.provisioning import apply
from departments.keys.rotation_models import Rotation
from tests.company import Company
from tests.openai_admin import OpenAICompany
from tests.provider import Provider

Sent = list[tuple[str, float]]


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Sent:
    """What was sent to the broker: a rotation's id and the seconds it should wait."""
    found: Sent = []

    def send(arguments: tuple[str], countdown: float = 0.0, **_: Any) -> None:
        found.append((arguments[0], countdown))

    monkeypatch.setattr(tasks.advance_rotation, "apply_async", send)
    monkeypatch.setattr(tasks.advance_rotation, "delay", lambda rotation_id: send((rotation_id,)))
    return found


@pytest.fixture
def openai(provider: Provider, company: Company) -> Iterator[OpenAICompany]:
    there = OpenAICompany(provider.address).belongs_to(company.organization)
    apply(company.hr)
    yield there
    there.behave()


def test_a_rotation_is_published_once_it_is_committed(company: Company, openai: OpenAICompany, sent: Sent) -> None:
    rotation = rotating.start(company.hr, "leak")
    assert sent == [(str(rotation.pk), 0.0)]


def test_what_waits_for_seconds_comes_back_by_itself(company: Company, openai: OpenAICompany, sent: Sent) -> None:
    openai.settle(stale_seconds=30.0)  # the new key is not known everywhere yet
    rotation = rotating.start(company.hr, "leak")
    sent.clear()
    tasks.advance_rotation(str(rotation.pk))
    ((again, countdown),) = sent
    assert again == str(rotation.pk)
    assert 1.0 <= countdown < tasks.SOON


def test_what_waits_longer_is_found_by_the_tick(company: Company, openai: OpenAICompany, sent: Sent) -> None:
    rotation = rotating.start(company.hr, "button")
    sent.clear()
    tasks.advance_rotation(str(rotation.pk))
    rotation.refresh_from_db()
    assert rotation.step == Rotation.Step.DRAIN
    assert sent == []
    tasks.tick_rotations()
    assert str(rotation.pk) not in dict(sent)
    Rotation.objects.filter(pk=rotation.pk).update(not_before=None)
    tasks.tick_rotations()
    assert str(rotation.pk) in dict(sent)


def test_a_broker_that_is_away_does_not_stop_anybody(company: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise OperationalError("away")

    monkeypatch.setattr(tasks.advance_rotation, "delay", away)
    rotation = rotating.start(company.hr, "button")
    assert rotation.pk in rotating.tick()


def test_the_command_shows_each_step_as_it_happens(
    company: Company, openai: OpenAICompany, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(rotation_id: str) -> None:
        while rotating.advance(Rotation.objects.get(pk=rotation_id).pk) is not None:
            Rotation.objects.filter(pk=rotation_id).update(not_before=None)

    monkeypatch.setattr(tasks.advance_rotation, "delay", work)
    said = StringIO()
    call_command("rotate_key", company.organization.slug, "hr", "--emergency", stdout=said)
    lines = said.getvalue().splitlines()
    assert "Emergency" in lines[0]
    assert lines[1].endswith("The exchange of a key or password began")
    assert lines[-1] == "Done: the old key is proven dead."


def test_the_command_says_what_it_waits_for(company: Company, openai: OpenAICompany, sent: Sent) -> None:
    with pytest.raises(CommandError, match="Not finished"):
        call_command("rotate_key", company.organization.slug, "hr", "--wait", "0.1", stdout=StringIO())
    with pytest.raises(CommandError, match="no department"):
        call_command("rotate_key", company.organization.slug, "nowhere", stdout=StringIO())
