"""The password of a store is exchanged while it is in use: nobody is turned away, and the old one is proven dead."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import connections

from audit.events import Event
from audit.models import AuditEvent
from departments.documents.credentials import Credential, credential_name, parse_credential
from departments.documents.logins import logins_of
from departments.documents.password_rotation import STEPS
from departments.documents.provision import ProvisioningImpossible, delete_store, provision_store
from departments.documents.store import open_store
from departments.keys import key_people, triggers
from departments.keys import rotation as rotating
from departments.keys.offboarding import rotate_what_they_could_see
from departments.keys.reader import current_vault
from departments.keys.rotation import By
from departments.keys.rotation_claims import win_claim
from departments.keys.rotation_models import Rotation
from departments.keys.rotation_subjects import store_password_of
from departments.models import Department
from tests.company import Company, give_key, give_store
from tests.departments.keys.rotating import Killer, Point, both_sides, pairs_from, run

Step, Result, What = Rotation.Step, Rotation.Result, Rotation.What
READERS = 6


@pytest.fixture(autouse=True)
def nobody_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rotating, "_publish", lambda rotation: None)


@pytest.fixture
def hr(company: Company) -> Iterator[Department]:
    give_store(company.hr)
    yield company.hr
    delete_store(Department.objects.select_related("organization").get(pk=company.hr.pk))


def credential(department: Department) -> Credential:
    return parse_credential(current_vault().get_current(credential_name(department)))


def lets_in(known: Credential) -> bool:
    try:
        psycopg.connect(known.conninfo()).close()
    except psycopg.OperationalError:
        return False
    return True


def test_the_old_password_is_dead_and_the_new_one_works(hr: Department) -> None:
    old, epoch = credential(hr), hr.store_epoch
    rotation = run(rotating.start(store_password_of(hr), "button"))
    new = credential(hr)
    assert (rotation.result, rotation.what) == (Result.DONE, What.STORE_PASSWORD)
    assert (old.login, new.login) == logins_of(hr.store_name)
    assert new.role == old.role
    assert (lets_in(old), lets_in(new)) == (False, True)
    hr.refresh_from_db()
    assert hr.store_epoch == epoch + 1
    assert hr.store_password_at is not None


def test_the_next_exchange_goes_back_to_the_first_login(hr: Department) -> None:
    first = credential(hr)
    second = credential(hr) if run(rotating.start(store_password_of(hr), "button")) else first
    run(rotating.start(store_password_of(hr), "leak"))
    third = credential(hr)
    assert [first.login, second.login, third.login] == [hr.store_name, f"{hr.store_name}_b", hr.store_name]
    assert [lets_in(each) for each in (first, second, third)] == [False, False, True]


def test_what_either_login_makes_belongs_to_the_store_s_owner(hr: Department) -> None:
    run(rotating.start(store_password_of(hr), "leak"))
    with psycopg.connect(credential(hr).conninfo()) as store:
        store.execute("CREATE TABLE made_now (x int)")
        owner = store.execute("SELECT tableowner FROM pg_tables WHERE tablename = 'made_now'").fetchone()
        session = store.execute("SELECT session_user, current_user").fetchone()
        store.rollback()
    assert owner == (hr.store_name,)
    assert session == (f"{hr.store_name}_b", hr.store_name)


def test_the_second_login_opens_no_other_department(company: Company, hr: Department) -> None:
    give_store(company.finance)
    run(rotating.start(store_password_of(hr), "leak"))
    elsewhere = replace(credential(hr), database=company.finance.store_name)
    with pytest.raises(psycopg.OperationalError, match="permission denied"):
        psycopg.connect(elsewhere.conninfo())
    delete_store(company.finance)


def test_the_record_tells_it_and_holds_no_password(hr: Department) -> None:
    old = credential(hr)
    rotation = run(rotating.start(store_password_of(hr), "leak"))
    new = credential(hr)
    events = AuditEvent.objects.filter(department_id=hr.pk)
    told = [event.event for event in events.filter(subject_id=str(rotation.pk)).order_by("at")]
    assert told[0] == Event.ROTATION_STARTED
    assert told[-2:] == [Event.ROTATION_PROVED, Event.ROTATION_CLOSED]
    written = repr(list(events.values())) + repr(Rotation.objects.filter(pk=rotation.pk).values().get())
    assert old.password.reveal() not in written
    assert new.password.reveal() not in written


# steps that change something outside our database; the others only look
ACTING = both_sides([Step.STAGE, Step.MINT, Step.PROMOTE, Step.UNSTAGE, Step.RETIRE])
LOOKING = both_sides([Step.PLAN, Step.VERIFY, Step.ANNOUNCE, Step.DRAIN, Step.PROVE])


@pytest.fixture
def killer(monkeypatch: pytest.MonkeyPatch) -> Killer:
    killer = Killer()
    for step, act in list(STEPS.items()):
        monkeypatch.setitem(STEPS, step, killer.around(str(step), act))
    return killer


def die_at(killer: Killer, hr: Department, *points: Point) -> None:
    """An exchange whose workers die at these points, one after the other, and what must hold at its end."""
    old = credential(hr)
    killer.points, killer.struck = list(points), 0
    rotation = run(rotating.start(store_password_of(hr), "person_left"), look=lambda: lets_in(credential(hr)))
    assert (killer.struck, rotation.result) == (len(points), Result.DONE), points
    assert (lets_in(old), lets_in(credential(hr))) == (False, True)
    assert current_vault().describe(credential_name(hr)).pending is None


def test_a_process_that_dies_at_a_step_that_looks_leaves_a_store_that_opens(hr: Department, killer: Killer) -> None:
    for point in LOOKING:
        die_at(killer, hr, point)


@pytest.mark.parametrize("first", ACTING, ids=lambda point: f"{point[1]}-{point[0]}")
def test_two_crashes_in_every_order_leave_a_store_that_opens(hr: Department, killer: Killer, first: Point) -> None:
    for pair in pairs_from(first, ACTING):
        die_at(killer, hr, *pair)


def test_a_given_up_exchange_leaves_the_old_password_and_ends_the_new_one(hr: Department, company: Company) -> None:
    old = credential(hr)
    rotation = rotating.start(store_password_of(hr), "button")
    rotating.advance(rotation.pk)
    rotation.refresh_from_db()
    assert rotation.step == Step.DRAIN
    new = credential(hr)
    rotating.give_up(rotation, By(company.ivan.pk, "Ivan"))
    run(rotation)
    assert rotation.result == Result.ROLLED_BACK
    assert credential(hr).password == old.password
    assert (lets_in(old), lets_in(new)) == (True, False)


def test_a_store_that_is_deleted_takes_its_exchange_along(hr: Department) -> None:
    rotation = run(rotating.start(store_password_of(hr), "button"), Step.DRAIN)
    old, new = (
        current_vault().get_version(credential_name(hr), each) for each in (rotation.old_version, str(rotation.pk))
    )
    logins = [parse_credential(each) for each in (old, new)]
    assert [lets_in(each) for each in logins] == [True, True]
    win_claim(rotation.pk, datetime.now(UTC) + timedelta(hours=1))
    with pytest.raises(ProvisioningImpossible, match="Try again in a minute"):
        delete_store(hr)
    Rotation.objects.filter(pk=rotation.pk).update(claimed_until=None)
    receipt = delete_store(hr)
    rotation.refresh_from_db()
    assert (rotation.result, rotating.advance(rotation.pk)) == (Result.ARCHIVED, None)
    assert set(receipt.secret_versions) == {rotation.old_version, str(rotation.pk)}
    assert [lets_in(each) for each in logins] == [False, False]


async def read_on(department: Department, stop: asyncio.Event) -> list[str]:
    """What a person's questions do to a store, again and again; what went wrong, if anything."""
    ends: list[str] = []
    while not stop.is_set():
        fresh = await Department.objects.select_related("organization").aget(pk=department.pk)
        try:
            async with open_store(fresh) as store:
                await store.count()
                await asyncio.sleep(0.02)
                await store.count()  # the handle may be older than the password by now
            ends.append("read")
        except Exception as error:
            ends.append(repr(error.__cause__ or error))
    return ends


@pytest.mark.parametrize("trigger", ["person_left", "leak"])
async def test_nobody_is_turned_away_while_the_password_is_exchanged(hr: Department, trigger: str) -> None:
    def exchange() -> list[str]:
        try:
            return [run(rotating.start(store_password_of(hr), trigger)).result for _ in range(3)]
        finally:
            connections.close_all()

    stop = asyncio.Event()
    readers = [asyncio.create_task(read_on(hr, stop)) for _ in range(READERS)]
    await asyncio.sleep(0.3)
    results = await asyncio.to_thread(exchange)
    await asyncio.sleep(0.3)
    stop.set()
    ends = [end for reader in await asyncio.gather(*readers) for end in reader]
    assert results == [Result.DONE] * 3
    assert set(ends) == {"read"}
    assert len(ends) > 10 * READERS, "there was hardly any load"


def test_a_password_of_ninety_days_is_exchanged_by_the_clock(hr: Department) -> None:
    old = datetime.now(UTC) - timedelta(days=settings.KEY_ROTATION_DAYS, minutes=1)
    Department.objects.filter(pk=hr.pk).update(store_password_at=old)
    triggers.run_all()
    opened = Rotation.objects.get(department=hr, closed_at=None)
    assert (opened.what, opened.trigger) == (What.STORE_PASSWORD, Rotation.Trigger.SCHEDULE)


def test_exchanging_the_password_forgets_nobody_who_pasted_the_key(company: Company, hr: Department) -> None:
    give_key(hr)
    key_people.note_pasted(hr, company.carol.pk)
    assert run(rotating.start(store_password_of(hr), "leak")).result == Result.DONE
    (rotation,) = rotate_what_they_could_see(company.carol.pk, None, "left")
    assert rotation.what == What.KEY


def test_whoever_administers_the_entry_could_have_seen_key_and_password(company: Company, hr: Department) -> None:
    give_key(hr)
    key_people.note_vault_administrator(hr, company.dave.pk)
    rotations = rotate_what_they_could_see(company.dave.pk, None, "left")
    assert {rotation.what for rotation in rotations} == {What.KEY, What.STORE_PASSWORD}
    assert {rotation.department for rotation in rotations} == {hr}


async def test_provisioning_again_keeps_the_login_in_use(hr: Department) -> None:
    await sync_to_async(run)(rotating.start(store_password_of(hr), "leak"))
    now = credential(hr)
    await sync_to_async(provision_store)(hr)
    assert credential(hr).login == now.login
    assert lets_in(credential(hr))
