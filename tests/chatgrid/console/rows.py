"""A row of every model that the console lists, so that a new list is tested by itself: add its row to `ROWS`."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.contrib.admin import ModelAdmin
from django.db.models import Model
from django.utils import timezone

from audit.events import Event
from audit.models import AuditEvent, LegalHold
from audit.writer import Entry, record
from chatgrid.accounts.models import User
from chatgrid.console.models import Departure
from chatgrid.console.site import site
from departments.calls.models import CatalogueModel
from departments.documents.models import DocumentSource
from departments.keys.models import AdminKeyReference, Finding, KeyReference, ProviderProject
from departments.keys.rotation_models import KeyAccess, Rotation
from departments.limits.alert_models import AlertTarget
from departments.limits.grant_models import Grant
from departments.limits.models import Limit
from departments.models import Department, Membership, Organization
from tests.company import Company

LISTED: dict[str, ModelAdmin[Any]] = {
    f"{model._meta.app_label}_{model._meta.model_name}": page for model, page in site._registry.items()
}
"""Name of a list in the URLconf -> its page. Filled from the console's registry."""

# drawn by pages of its own instead of Django's, with tests of its own: chatgrid/console/record
OWN_PAGES = {"audit_auditevent"}
STOCK = [name for name in LISTED if name not in OWN_PAGES]


def department(company: Company) -> Department:
    mark = secrets.token_hex(4)
    return Department.objects.create(organization=company.organization, slug=f"d-{mark}", name=f"D {mark}")


def person(company: Company) -> User:
    email = f"p-{secrets.token_hex(6)}@{company.organization.slug}.example"
    return User.objects.create_user(email, None, name=f"P {email}", organization=company.organization)


def event(company: Company) -> AuditEvent:
    organization = company.organization
    entry = Entry(event=Event.CALL_REFUSED, organization_id=organization.pk, actor_id=company.bob.pk, actor_name="Bob")
    record(entry)
    return AuditEvent.objects.get(pk=entry.id)


def finding(company: Company) -> Finding:
    return Finding.objects.create(department=department(company), kind="tools", sentence="On", seen_at=timezone.now())


def rotation(company: Company) -> Rotation:
    now, place = timezone.now(), department(company)
    return Rotation.objects.create(
        organization=company.organization,
        department=place,
        trigger="button",
        started_at=now,
        step_since=now,
        secret_name=str(place.pk),
    )


def key(company: Company) -> KeyReference:
    place = department(company)
    return KeyReference.objects.create(department=place, secret_name=str(place.pk), version="1", fingerprint="f" * 16)


def project(company: Company) -> ProviderProject:
    place = department(company)
    return ProviderProject.objects.create(department=place, name=str(place.pk))


def departure(company: Company) -> Departure:
    return Departure.objects.create(
        organization=company.organization, person=person(company), by_name="Ivan", reason="left", role="member"
    )


def grant(company: Company) -> Grant:
    now = timezone.now()
    return Grant.objects.create(
        organization=company.organization,
        department=department(company),
        person=person(company),
        amount=5,
        starts_at=now,
        ends_at=now + timedelta(days=1),
        granted_by=company.alice.pk,
        granted_by_name="Alice",
        reason="A report",
    )


ROWS: dict[type[Model], Callable[[Company], Model]] = {
    AdminKeyReference: lambda company: AdminKeyReference.objects.get_or_create(
        organization=company.organization, secret_name=f"admin/{company.organization.pk}", version="1", fingerprint="f"
    )[0],
    AuditEvent: event,
    CatalogueModel: lambda _: CatalogueModel.objects.create(
        name=f"m-{secrets.token_hex(6)}", kind="chat", context_tokens=1000, output_tokens=100
    ),
    Department: department,
    Departure: departure,
    DocumentSource: lambda company: DocumentSource.objects.create(
        department=department(company), name="Policies", kind="folder", place="files"
    ),
    Finding: finding,
    Grant: grant,
    KeyAccess: lambda company: KeyAccess.objects.create(
        organization=company.organization, department=department(company), person=person(company), how="pasted"
    ),
    KeyReference: key,
    LegalHold: lambda company: LegalHold.objects.create(
        organization_id=company.organization.pk, reason=f"Case {secrets.token_hex(3)}"
    ),
    AlertTarget: lambda company: AlertTarget.objects.create(
        organization=company.organization, kind="email", address=f"{secrets.token_hex(4)}@x.example"
    ),
    Limit: lambda company: Limit.objects.create(
        organization=company.organization, person=person(company), tokens_per_day=1, reason="test"
    ),
    Membership: lambda company: Membership.objects.create(user=person(company), department=company.hr),
    Organization: lambda company: company.organization,  # one's own, and no other is ever listed
    ProviderProject: project,
    Rotation: rotation,
    User: person,
}


def row_of(name: str, company: Company) -> Model:
    """A new row of this list. KeyError: say in ROWS how one is made."""
    return ROWS[LISTED[name].model](company)
