"""What starts a rotation: age, expiry, a person who leaves, a suspicion, a button; and what does not."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.conf import settings
from django.utils import timezone

from audit.events import Event
from audit.models import AuditEvent
from chatgrid.accounts.models import User
from departments.keys import key_people, triggers
from departments.keys import rotation as rotating
from departments.keys.models import KeyReference
from departments.keys.offboarding import rotate_what_they_could_see
from departments.keys.rotation import By
from departments.keys.rotation_models import KeyAccess, Rotation
from departments.models import Department, Membership
from departments.roles import DepartmentRole, OrganizationRole
from tests.company import Company, give_key, make_company, make_key

Trigger, Mode = Rotation.Trigger, Rotation.Mode


@pytest.fixture(autouse=True)
def nobody_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rotating, "_publish", lambda rotation: None)


@pytest.fixture
def keyed(company: Company) -> Company:
    """HR and Finance have keys, and the tick has seen who is who."""
    give_key(company.hr)
    give_key(company.finance)
    triggers.run_all()
    assert open_rotations(company) == {}
    return company


def open_rotations(company: Company) -> dict[str, tuple[str, str]]:
    found = Rotation.objects.filter(department__organization=company.organization, closed_at=None)
    return {rotation.department.slug: (rotation.trigger, rotation.mode) for rotation in found}


def set_key(department: Department, **columns: object) -> None:
    KeyReference.objects.filter(department=department).update(**columns)


def test_a_key_of_ninety_days_is_exchanged_and_a_younger_one_is_not(keyed: Company) -> None:
    assert settings.KEY_ROTATION_DAYS == 90
    set_key(keyed.hr, installed_at=timezone.now() - timedelta(days=90, minutes=1))
    set_key(keyed.finance, installed_at=timezone.now() - timedelta(days=89, hours=23))
    triggers.run_all()
    assert open_rotations(keyed) == {"hr": (Trigger.SCHEDULE, Mode.PLANNED)}


def test_a_key_that_ends_within_two_weeks_is_exchanged(keyed: Company) -> None:
    set_key(keyed.hr, expires_at=timezone.now() + timedelta(days=13))
    set_key(keyed.finance, expires_at=timezone.now() + timedelta(days=15))
    triggers.run_all()
    assert open_rotations(keyed) == {"hr": (Trigger.EXPIRY, Mode.PLANNED)}


def test_the_clock_starts_one_rotation_however_often_it_ticks(keyed: Company) -> None:
    set_key(keyed.hr, expires_at=timezone.now())
    for _ in range(3):
        triggers.run_all()
    assert Rotation.objects.filter(department=keyed.hr).count() == 1


def test_what_was_given_up_rests_before_the_clock_tries_again(keyed: Company) -> None:
    set_key(keyed.hr, expires_at=timezone.now())
    triggers.run_all()
    now = timezone.now()
    Rotation.objects.filter(department=keyed.hr).update(closed_at=now, result=Rotation.Result.ROLLED_BACK)
    triggers.run_all(now + timedelta(hours=5))
    assert open_rotations(keyed) == {}
    triggers.run_all(now + timedelta(hours=7))
    assert set(open_rotations(keyed)) == {"hr"}


def leaves(person: User) -> None:
    person.is_active = False
    person.save()


def loses_the_role(person: User) -> None:
    person.role = OrganizationRole.MEMBER
    person.save()


def is_removed_by_sql(person: User) -> None:
    User.objects.filter(pk=person.pk).update(is_active=False)


@pytest.mark.parametrize("goes", [leaves, loses_the_role, is_removed_by_sql])
def test_it_who_may_rotate_every_key_of_the_company_leaves(keyed: Company, goes: Callable[[User], None]) -> None:
    goes(keyed.ivan)
    triggers.run_all()
    expected = (Trigger.PERSON_LEFT, Mode.PROMPT)
    assert open_rotations(keyed) == {"hr": expected, "finance": expected}
    events = AuditEvent.objects.filter(
        organization_id=keyed.organization.pk, event=Event.KEY_ACCESS_ENDED, subject_id=str(keyed.ivan.pk)
    )
    assert events.count() == 2


def test_whoever_pasted_a_key_takes_that_department_s_key_along_and_no_other(keyed: Company) -> None:
    key_people.note_pasted(keyed.hr, keyed.alice.pk)
    leaves(keyed.alice)
    triggers.run_all()
    assert set(open_rotations(keyed)) == {"hr"}


def test_whoever_administers_the_entry_in_the_secret_manager_too(keyed: Company) -> None:
    key_people.note_vault_administrator(keyed.finance, keyed.dave.pk)
    leaves(keyed.dave)
    triggers.run_all()
    assert set(open_rotations(keyed)) == {"finance"}


def test_a_person_without_access_to_a_key_leaves_without_a_rotation(keyed: Company) -> None:
    leaves(keyed.bob)
    Membership.objects.filter(user=keyed.alice).update(role=DepartmentRole.MEMBER)
    triggers.run_all()
    assert open_rotations(keyed) == {}


def test_another_company_is_not_touched(keyed: Company) -> None:
    other = make_company()
    give_key(other.hr)
    triggers.run_all()
    leaves(keyed.ivan)
    triggers.run_all()
    assert open_rotations(other) == {}


def test_a_leaver_is_rotated_at_once_where_somebody_says_so(keyed: Company) -> None:
    carol = By(keyed.carol.pk, "Carol")
    rotations = rotate_what_they_could_see(keyed.ivan.pk, carol, "left today")
    assert {(rotation.department.slug, rotation.reason) for rotation in rotations} == {
        ("hr", "left today"),
        ("finance", "left today"),
    }
    assert set(open_rotations(keyed)) == {"hr", "finance"}
    assert not KeyAccess.objects.filter(person=keyed.ivan).exists()


def test_pasting_makes_a_person_one_who_knows_the_key(keyed: Company) -> None:
    rotating.start_pasted(keyed.hr, make_key(), By(keyed.alice.pk, "Alice"))
    assert KeyAccess.objects.filter(department=keyed.hr, person=keyed.alice, how=KeyAccess.How.PASTED).exists()


def test_a_suspected_leak_is_an_emergency_and_the_button_is_not(keyed: Company) -> None:
    by = By(keyed.ivan.pk, "Ivan")
    triggers.suspect_leak(keyed.hr, by)
    triggers.by_hand(keyed.finance, by, "it is time")
    assert open_rotations(keyed) == {"hr": (Trigger.LEAK, Mode.EMERGENCY), "finance": (Trigger.BUTTON, Mode.PLANNED)}
    started = AuditEvent.objects.get(department_id=keyed.hr.pk, event=Event.ROTATION_STARTED)
    assert started.actor_name == "Ivan"
