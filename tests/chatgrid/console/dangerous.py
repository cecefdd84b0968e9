"""Every dangerous act of the console, once: the form that asks for it, and how to see that it happened.

A new one is a function here and an entry in `ACTS`; test_fresh.py walks each, and finds an address of the console that
nobody thought about.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import uuid4

from allauth.mfa.models import Authenticator
from django.urls import reverse
from django.utils import timezone

from audit.events import Event
from audit.models import AuditEvent, LegalHold, RetentionPolicy
from chatgrid.accounts.models import User
from chatgrid.console.models import Departure
from chatgrid.console.wanted.changes import digest
from chatgrid.console.wanted.limits import Context, plan_limits, read_csv
from departments.keys.models import ProviderProject
from departments.keys.rotation_models import KeyAccess, Rotation
from departments.limits.alert_models import AlertTarget
from departments.limits.grant_models import Grant
from departments.limits.models import Limit, Reservation
from departments.models import Department, Membership, Organization
from tests.company import Company, give_key, set_limit

NO_MEMBERSHIPS = {"memberships-TOTAL_FORMS": "0", "memberships-INITIAL_FORMS": "0"}


@dataclass(frozen=True)
class Act:
    """A form, sent to an address, and whether what it asks for has happened."""

    address: str
    form: dict[str, Any]
    happened: Callable[[], bool]
    says: str


def person_form(company: Company, **changes: str) -> dict[str, str]:
    bob = company.bob
    return {"name": bob.name, "email": bob.email, "role": bob.role, "is_active": "on", **NO_MEMBERSHIPS, **changes}


def change_role(company: Company) -> Act:
    return Act(
        reverse("admin:accounts_user_change", args=[company.bob.pk]),
        person_form(company, role="it"),
        lambda: User.objects.get(pk=company.bob.pk).role == "it",
        "Change the role of Bob from Employee to IT.",
    )


def add_an_auditor(company: Company) -> Act:
    email = f"eve@{company.organization.slug}.example"
    return Act(
        reverse("admin:accounts_user_add"),
        {"name": "Eve", "email": email, "role": "auditor", **NO_MEMBERSHIPS},
        lambda: User.objects.filter(email=email).exists(),
        "Add Eve with the role Auditor.",
    )


def make_a_department_admin(company: Company) -> Act:
    membership = Membership.objects.get(user=company.bob)
    return Act(
        reverse("admin:departments_membership_change", args=[membership.pk]),
        {"role": "admin"},
        lambda: Membership.objects.get(pk=membership.pk).role == "admin",
        "Make Bob admin of Human Resources.",
    )


def delete_memberships(company: Company) -> Act:
    rows = Membership.objects.filter(department=company.hr)
    chosen = [str(pk) for pk in rows.values_list("pk", flat=True)]
    return Act(
        reverse("admin:departments_membership_changelist"),
        {"action": "delete_selected", "_selected_action": chosen, "post": "yes"},
        lambda: not rows.exists(),
        "Delete 3 memberships.",
    )


def remove_a_membership_on_the_persons_page(company: Company) -> Act:
    membership = Membership.objects.get(user=company.bob)
    one = {"id": membership.pk, "user": company.bob.pk, "department": company.hr.pk, "role": "member", "DELETE": "on"}
    rows = {f"memberships-0-{name}": str(value) for name, value in one.items()}
    counts = {"memberships-TOTAL_FORMS": "1", "memberships-INITIAL_FORMS": "1"}
    return Act(
        reverse("admin:accounts_user_change", args=[company.bob.pk]),
        {**person_form(company), **rows, **counts},
        lambda: not Membership.objects.filter(pk=membership.pk).exists(),
        "Remove the membership",
    )


def close_a_sign_in(company: Company) -> Act:
    return Act(
        reverse("admin:accounts_user_changelist"),
        {"action": "close", "_selected_action": [str(company.bob.pk), str(company.carol.pk)]},
        lambda: not User.objects.filter(pk__in=[company.bob.pk, company.carol.pk], is_active=True).exists(),
        "Close the sign-in of 2 people.",
    )


def open_a_sign_in_again(company: Company) -> Act:
    User.objects.filter(pk=company.bob.pk).update(is_active=False)
    return Act(
        reverse("admin:accounts_user_changelist"),
        {"action": "open", "_selected_action": [str(company.bob.pk)]},
        lambda: User.objects.get(pk=company.bob.pk).is_active,
        "Open the sign-in of 1 person again.",
    )


def leave_now(company: Company) -> Act:
    return Act(
        reverse("admin:accounts_user_leave", args=[company.bob.pk]),
        {},
        lambda: Departure.objects.filter(person=company.bob).exists(),
        "End everything this person can do, at once.",
    )


def take_off_a_second_factor(company: Company) -> Act:
    factors = Authenticator.objects.filter(user=company.bob)
    Authenticator.objects.create(user=company.bob, type=Authenticator.Type.TOTP, data={})
    return Act(
        reverse("admin:accounts_user_factor", args=[company.bob.pk]),
        {},
        lambda: not factors.exists(),
        "Take the second factor of Bob off.",
    )


def delete_a_limit(company: Company) -> Act:
    limit = set_limit(company, department=company.hr, tokens_per_day=9)
    return Act(
        reverse("admin:limits_limit_delete", args=[limit.pk]),
        {"post": "yes"},
        lambda: not Limit.objects.filter(pk=limit.pk).exists(),
        "Remove the limit of Human Resources.",
    )


def lift_a_limit(company: Company) -> Act:
    limit = set_limit(company, department=company.hr, money_per_day="9.50")
    return Act(
        reverse("admin:limits_limit_change", args=[limit.pk]),
        {"money_per_day": "", "reason": "no need"},
        lambda: Limit.objects.get(pk=limit.pk).money_per_day is None,
        "Lift a limit (US$ a day): Human Resources.",
    )


def raise_a_limit(company: Company) -> Act:
    limit = set_limit(company, department=company.hr, person_tokens_per_day=9)
    return Act(
        reverse("admin:limits_limit_change", args=[limit.pk]),
        {"person_tokens_per_day": "10", "reason": "more to do"},
        lambda: Limit.objects.get(pk=limit.pk).person_tokens_per_day == 10,
        "Raise a limit (each person: tokens a day): Human Resources.",
    )


def end_a_grant(company: Company) -> Act:
    now = timezone.now()
    grant = Grant.objects.create(
        organization=company.organization,
        department=company.hr,
        person=company.bob,
        amount=1_000,
        starts_at=now,
        ends_at=now + timedelta(days=2),
        granted_by=company.alice.pk,
        granted_by_name="Alice",
    )
    return Act(
        reverse("admin:limits_grant_end", args=[grant.pk]),
        {},
        lambda: not Grant.objects.get(pk=grant.pk).holds,
        "End what Bob was granted: 1,000 tokens more a day.",
    )


def change_many_limits(company: Company) -> Act:
    text = "department,tokens_per_day\nhr,77\nfinance,78\n"
    planned = plan_limits(Context(company.organization, "many at once"), read_csv(text))
    return Act(
        reverse("admin:limits_limit_apply"),
        {"csv": text, "digest": digest(planned)},
        lambda: Limit.objects.filter(organization=company.organization).count() == 2,
        "Change many limits at once.",
    )


def silence_an_alert(company: Company) -> Act:
    target = AlertTarget.objects.create(organization=company.organization, kind="email", address="ops@x.example")
    return Act(
        reverse("admin:limits_alerttarget_change", args=[target.pk]),
        {"department": ""},
        lambda: not AlertTarget.objects.get(pk=target.pk).is_active,
        "Send no more alerts to ops@x.example.",
    )


def _department(company: Company, **changes: str) -> Act:
    hr = company.hr
    same = {"name": hr.name, "is_active": "on", "provider": hr.provider, "model": hr.model}
    same |= {"typed_secrets": hr.typed_secrets, "document_review": hr.document_review, "query_policy": hr.query_policy}
    form = {name: value for name, value in {**same, **NO_MEMBERSHIPS, **changes}.items() if value}
    before = Department.objects.values().get(pk=hr.pk)
    return Act(
        reverse("admin:departments_department_change", args=[hr.pk]),
        form,
        lambda: Department.objects.values().get(pk=hr.pk) != before,
        "",
    )


def close_a_department(company: Company) -> Act:
    act = _department(company, is_active="")
    return Act(act.address, act.form, act.happened, "Close the department Human Resources")


def change_what_the_record_keeps(company: Company) -> Act:
    act = _department(company, query_policy="redacted")
    return Act(act.address, act.form, act.happened, "Let the record keep something else of the questions")


def change_a_policy(company: Company) -> Act:
    act = _department(company, typed_secrets="redact")
    return Act(act.address, act.form, act.happened, "Change a policy of Human Resources: what happens to secrets")


def _organization(company: Company, says: str, happened: Callable[[], bool], **changes: str) -> Act:
    here = company.organization
    form = {"name": here.name, "time_zone": here.time_zone, "second_factor": here.second_factor, **changes}
    return Act(reverse("admin:departments_organization_change", args=[here.pk]), form, happened, says)


def keep_the_record_for_a_shorter_time(company: Company) -> Act:
    own = RetentionPolicy.objects.filter(pk=company.organization.pk, days=120)
    return _organization(company, "Keep the record of", own.exists, record_days="120")


def let_admins_paste_keys(company: Company) -> Act:
    own = Organization.objects.filter(pk=company.organization.pk, admins_paste_keys=True)
    return _organization(company, "Let the department admins of", own.exists, admins_paste_keys="on")


def require_a_second_factor(company: Company) -> Act:
    own = Organization.objects.filter(pk=company.organization.pk, second_factor="privileged")
    return _organization(company, "Change who must have a second factor", own.exists, second_factor="privileged")


def place_a_hold(company: Company) -> Act:
    holds = LegalHold.objects.filter(organization_id=company.organization.pk)
    return Act(reverse("admin:audit_legalhold_add"), {"reason": "case 7"}, holds.exists, "Place a legal hold")


def lift_a_hold(company: Company) -> Act:
    hold = LegalHold.objects.create(organization_id=company.organization.pk, reason="case 7")
    return Act(
        reverse("admin:audit_legalhold_lift", args=[hold.pk]),
        {},
        lambda: LegalHold.objects.get(pk=hold.pk).lifted_at is not None,
        "Lift the legal hold",
    )


def take_the_record_away(company: Company) -> Act:
    begun = AuditEvent.objects.filter(organization_id=company.organization.pk, event=Event.EXPORT_BEGUN)
    return Act(reverse("export_record"), {"form": "csv"}, begun.exists, "Take the record away.")


def pause_a_department(company: Company) -> Act:
    paused = Department.objects.filter(pk=company.hr.pk, paused_at__isnull=False)
    address = reverse("admin:live_pause", args=[company.hr.pk])
    return Act(address, {}, paused.exists, "Pause Human Resources: no call is made")


def let_a_department_go_on(company: Company) -> Act:
    Department.objects.filter(pk=company.hr.pk).update(paused_at=timezone.now(), pause_reason="wrong document")
    open_again = Department.objects.filter(pk=company.hr.pk, paused_at=None)
    address = reverse("admin:live_resume", args=[company.hr.pk])
    return Act(address, {}, open_again.exists, "Let Human Resources answer again.")


def stop_an_answer(company: Company) -> Act:
    now = timezone.now()
    call = Reservation.objects.create(
        call_id=uuid4(),
        organization_id=company.organization.pk,
        department_id=company.hr.pk,
        person_id=company.bob.pk,
        purpose="chat",
        day=now.date(),
        admitted_at=now,
        lease_until=now + timedelta(minutes=5),
        tokens_prompt=1,
        tokens_reserved=2,
    )
    return Act(
        reverse("admin:live_stop", args=[call.pk]),
        {},
        lambda: Reservation.objects.get(pk=call.pk).stop_requested,
        "Stop the answer for Bob in Human Resources.",
    )


def _exchange(company: Company, button: str, says: str) -> Act:
    give_key(company.hr)
    asked = Rotation.objects.filter(department=company.hr)
    return Act(reverse("admin:keys_keyreference_ask", args=[company.hr.key.pk, button]), {}, asked.exists, says)


def exchange_a_key(company: Company) -> Act:
    return _exchange(company, "rotate", "Exchange the key of Human Resources.")


def exchange_a_key_as_an_emergency(company: Company) -> Act:
    return _exchange(company, "emergency", "Exchange the key of Human Resources as an emergency")


def end_an_access_to_a_key(company: Company) -> Act:
    row = KeyAccess.objects.create(
        organization=company.organization, department=company.hr, person=company.bob, how="pasted"
    )
    return Act(
        reverse("admin:keys_keyaccess_changelist"),
        {"action": "end_access", "_selected_action": [str(row.pk)]},
        lambda: not KeyAccess.objects.filter(pk=row.pk).exists(),
        "End the access of Bob (Human Resources)",
    )


def _project(company: Company, button: str, says: str, action: str, form: dict[str, str]) -> Act:
    now = timezone.now()
    row = ProviderProject.objects.create(
        department=company.hr, name=str(company.hr.pk), planned_at=now, monthly_cents=100
    )
    written = AuditEvent.objects.filter(subject_kind="project", subject_id=str(row.pk), details__action=action)
    address = reverse(f"admin:keys_providerproject_{button}", args=[row.pk])
    return Act(address, {"planned_at": now.isoformat()} | form, written.exists, says)


def change_the_bounds_at_openai(company: Company) -> Act:
    says = "Change the bounds of Human Resources at OpenAI (limit a month (US cents)"
    return _project(
        company, "change", says, "changed", {"monthly_cents": "9000", "retention": "none", "key_days": "90"}
    )


def apply_a_plan_at_openai(company: Company) -> Act:
    return _project(company, "apply", "Apply the plan you saw to the project of Human Resources", "plan applied", {})


def take_over_a_project(company: Company) -> Act:
    return _project(company, "adopt", "Take over the project proj_9abc", "adoption asked for", {"project": "proj_9abc"})


def close_a_project(company: Company) -> Act:
    return _project(company, "archive", "Close the project of Human Resources at OpenAI", "archiving asked for", {})


ACTS = [
    change_role,
    add_an_auditor,
    make_a_department_admin,
    delete_memberships,
    remove_a_membership_on_the_persons_page,
    close_a_sign_in,
    open_a_sign_in_again,
    leave_now,
    take_off_a_second_factor,
    delete_a_limit,
    lift_a_limit,
    raise_a_limit,
    end_a_grant,
    change_many_limits,
    silence_an_alert,
    close_a_department,
    change_what_the_record_keeps,
    change_a_policy,
    keep_the_record_for_a_shorter_time,
    let_admins_paste_keys,
    require_a_second_factor,
    place_a_hold,
    lift_a_hold,
    take_the_record_away,
    pause_a_department,
    let_a_department_go_on,
    stop_an_answer,
    exchange_a_key,
    exchange_a_key_as_an_emergency,
    end_an_access_to_a_key,
    change_the_bounds_at_openai,
    apply_a_plan_at_openai,
    take_over_a_project,
    close_a_project,
]
# these have a field for the reason in their own form, or a sentence of their own where it is missing
ASKS_ITSELF = {delete_a_limit, lift_a_limit, raise_a_limit, place_a_hold}
