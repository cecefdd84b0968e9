"""The organization's admin key is exchanged by the same machine: over HTTP, against the simulator's Admin API.

Every step and every pair of steps with a crash: test_rotation_crashes.py.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connections

from audit.models import AuditEvent
from departments.keys import key_people, triggers
from departments.keys import rotation as rotating
from departments.keys.admin_api import AdminApi, AdminKeyRefused, open_admin_api
from departments.keys.admin_key import admin_key_secret, read_admin_key
from departments.keys.admin_key_rotation import STEPS
from departments.keys.models import AdminKeyReference, ProviderProject
from departments.keys.offboarding import rotate_what_they_could_see
from departments.keys.provisioning import plan
from departments.keys.reader import current_vault
from departments.keys.rotation import By
from departments.keys.rotation_models import KeyAccess, Rotation
from departments.keys.rotation_subjects import admin_key_of
from departments.keys.secret import Secret
from tests.company import Company
from tests.departments.keys.rotating import Killed, run
from tests.openai_admin import OpenAICompany, make_admin_key
from tests.provider import Provider

Step, Result, What = Rotation.Step, Rotation.Result, Rotation.What


@pytest.fixture(autouse=True)
def nobody_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rotating, "_publish", lambda rotation: None)


@pytest.fixture
def openai(provider: Provider, company: Company) -> Iterator[OpenAICompany]:
    there = OpenAICompany(provider.address).belongs_to(company.organization)
    yield there
    there.behave()


def current(company: Company) -> Secret:
    key = read_admin_key(company.organization)
    assert isinstance(key, Secret)
    return key


def works(key: Secret, openai: OpenAICompany) -> bool:
    try:
        with AdminApi(key, openai.base_url) as api:
            api.verify()
    except AdminKeyRefused:
        return False
    return True


def listed(company: Company, openai: OpenAICompany) -> int:
    with AdminApi(current(company), openai.base_url) as api:
        return len(api.list_admin_keys())


@pytest.mark.parametrize("trigger", ["button", "leak"])
def test_the_old_admin_key_makes_the_new_one_and_is_dead_at_the_end(
    company: Company, openai: OpenAICompany, trigger: str
) -> None:
    old = current(company)
    rotation = run(rotating.start(admin_key_of(company.organization), trigger))
    new = current(company)
    reference = AdminKeyReference.objects.get(organization=company.organization)
    assert (rotation.result, rotation.what, rotation.department) == (Result.DONE, What.ADMIN_KEY, None)
    assert (works(old, openai), works(new, openai)) == (False, True)
    assert (reference.fingerprint, reference.version) == (new.fingerprint(), str(rotation.pk))
    assert reference.expires_at is not None
    assert listed(company, openai) == 1


@pytest.mark.parametrize("side", ["before", "after"])
@pytest.mark.parametrize("step", [str(step) for step in (Step.MINT, Step.VERIFY, Step.RETIRE, Step.PROVE)])
def test_a_process_that_dies_while_it_speaks_to_openai_leaves_one_key_that_works(
    company: Company, openai: OpenAICompany, monkeypatch: pytest.MonkeyPatch, step: str, side: str
) -> None:
    act, struck = STEPS[step], []

    def deadly(job: object) -> object:
        if side == "before" and not struck:
            struck.append(step)
            raise Killed
        outcome = act(job)  # type: ignore[arg-type]
        assert works(current(company), openai)
        if not struck:
            struck.append(step)
            raise Killed
        return outcome

    old = current(company)
    monkeypatch.setitem(STEPS, step, deadly)  # type: ignore[arg-type]
    rotation = run(rotating.start(admin_key_of(company.organization), "person_left"))
    assert (struck, rotation.result) == ([step], Result.DONE)
    assert (works(old, openai), works(current(company), openai)) == (False, True)
    assert listed(company, openai) == 1, "no key of a try whose answer was lost is left"
    assert current_vault().describe(admin_key_secret(company.organization)).pending is None


@pytest.mark.parametrize(("when", "how"), [("after", "cut"), ("before", "error"), ("after", "error")])
def test_an_answer_that_is_lost_leaves_no_second_key(
    company: Company, openai: OpenAICompany, when: str, how: str
) -> None:
    openai.order(when, how, method="POST", path="admin_api_keys$")
    assert run(rotating.start(admin_key_of(company.organization), "leak")).result == Result.DONE
    assert listed(company, openai) == 1


def test_what_needs_the_admin_key_goes_on_while_it_is_exchanged(company: Company, openai: OpenAICompany) -> None:
    stop, ends = threading.Event(), []

    def ask_on() -> None:
        try:
            while not stop.is_set():
                plan(company.hr)
                ends.append("planned")
        except Exception as error:
            ends.append(repr(error))
        finally:
            connections.close_all()

    asking = threading.Thread(target=ask_on)
    asking.start()
    results = [run(rotating.start(admin_key_of(company.organization), "button")).result for _ in range(3)]
    stop.set()
    asking.join()
    assert results == [Result.DONE] * 3
    assert set(ends) == {"planned"}


def test_without_an_admin_key_the_same_machine_takes_a_pasted_one(company: Company, provider: Provider) -> None:
    ivan, pasted = By(company.ivan.pk, "Ivan"), make_admin_key()
    rotation = run(rotating.start_pasted(admin_key_of(company.organization), pasted, ivan, reason="our first"))
    assert rotation.result == Result.DONE
    assert current(company) == pasted
    row = KeyAccess.objects.get(organization=company.organization, department=None)
    assert (row.person, row.how) == (company.ivan, KeyAccess.How.PASTED)


def test_a_pasted_admin_key_takes_the_place_of_one_that_openai_refuses(company: Company, openai: OpenAICompany) -> None:
    with openai.api() as api:
        mine = api.list_admin_keys()[0].id
        spare = api.create_admin_key("by hand", expires_in=timedelta(days=30))
        api.delete_admin_key(mine)
    rotation = rotating.start(admin_key_of(company.organization), "button")
    rotating.advance(rotation.pk)
    rotation.refresh_from_db()
    assert (rotation.step, bool(rotation.problem)) == (Step.MINT, True)
    by = By(company.ivan.pk, "Ivan")
    assert rotating.start_pasted(admin_key_of(company.organization), spare.value, by).pk == rotation.pk
    assert run(rotation).result == Result.DONE
    assert current(company) == spare.value


def test_a_key_that_is_no_admin_key_is_given_up(company: Company, openai: OpenAICompany) -> None:
    old, wrong = current(company), make_admin_key()
    other = OpenAICompany(openai.address, wrong)
    with other.api() as api:
        api.delete_admin_key(api.list_admin_keys()[0].id)  # it existed once and is dead now
    by = By(company.ivan.pk, "Ivan")
    rotation = run(rotating.start_pasted(admin_key_of(company.organization), wrong, by))
    assert rotation.result == Result.ROLLED_BACK
    assert current(company) == old


def test_an_admin_key_of_another_organization_at_openai_is_given_up(company: Company, openai: OpenAICompany) -> None:
    old, project = current(company), openai.post("projects", {"name": "ours"})["id"]
    ProviderProject.objects.create(department=company.hr, name=project, project_id=project)
    wrong, ivan = make_admin_key(), By(company.ivan.pk, "Ivan")
    with OpenAICompany(openai.address, wrong).api() as api:
        api.verify()
    rotation = run(rotating.start_pasted(admin_key_of(company.organization), wrong, ivan))
    assert (rotation.result, current(company)) == (Result.ROLLED_BACK, old)
    with openai.api() as api:
        spare = api.create_admin_key("by hand", expires_in=timedelta(days=30)).value
    assert run(rotating.start_pasted(admin_key_of(company.organization), spare, ivan)).result == Result.DONE
    assert current(company) == spare


def test_whoever_pasted_the_admin_key_takes_it_along_and_no_department_s_key(
    company: Company, openai: OpenAICompany
) -> None:
    key_people.note_pasted(admin_key_of(company.organization), company.carol.pk)
    (rotation,) = rotate_what_they_could_see(company.carol.pk, None, "left")
    assert (rotation.what, rotation.department) == (What.ADMIN_KEY, None)
    assert Rotation.objects.filter(organization=company.organization).count() == 1


def test_the_clock_exchanges_an_old_admin_key_and_one_that_ends_soon(company: Company, openai: OpenAICompany) -> None:
    references = AdminKeyReference.objects.filter(organization=company.organization)
    references.update(installed_at=datetime.now(UTC) - timedelta(days=91))
    triggers.run_all()
    opened = Rotation.objects.get(organization=company.organization, closed_at=None)
    assert (opened.what, opened.trigger) == (What.ADMIN_KEY, Rotation.Trigger.SCHEDULE)
    run(opened)
    references.update(expires_at=datetime.now(UTC) + timedelta(days=13))
    triggers.run_all()
    again = Rotation.objects.get(organization=company.organization, closed_at=None)
    assert again.trigger == Rotation.Trigger.EXPIRY


def test_no_event_and_no_row_holds_the_key(company: Company, openai: OpenAICompany) -> None:
    old = current(company)
    run(rotating.start(admin_key_of(company.organization), "leak"))
    rows = repr(list(Rotation.objects.filter(organization=company.organization).values()))
    written = rows + repr(list(AuditEvent.objects.filter(organization_id=company.organization.pk).values()))
    for key in (old, current(company)):
        assert key.reveal() not in written


def test_a_department_of_another_company_is_not_touched(
    company: Company, other_company: Company, openai: OpenAICompany, provider: Provider
) -> None:
    theirs = OpenAICompany(provider.address).belongs_to(other_company.organization)
    run(rotating.start(admin_key_of(company.organization), "leak"))
    opened = open_admin_api(other_company.organization)
    assert isinstance(opened, AdminApi)
    with opened as api:
        api.verify()
    assert current(other_company) == theirs.admin_key
