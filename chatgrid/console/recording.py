"""What IT does in the console goes into the record, in the same transaction as the act itself.

Rules:
- One event for each thing changed, with the fields before and after. A save that changes nothing leaves no event.
- Fields are named here, one by one: what is not in the list (a password, say) cannot reach the record.
- Whoever cannot write the event does not act: the error ends the transaction.

Example: actor Ivan (id …), subject limit (id …), details {"action": "changed", "subject": "Finance",
"before": {"tokens_per_day": 100000}, "after": {"tokens_per_day": 50000}}.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import Model
from django.http import HttpRequest

from audit.events import Event
from audit.models import LegalHold, RetentionPolicy
from audit.writer import Entry, record
from chatgrid.accounts.models import User
from chatgrid.console.fresh import confirmation_of
from chatgrid.console.models import Departure
from chatgrid.console.scope import viewer_of
from departments.calls.models import CatalogueModel
from departments.documents.models import DocumentSource
from departments.http import client_address
from departments.keys.models import AdminKeyReference, Finding, KeyReference, ProviderProject
from departments.keys.rotation_models import KeyAccess, Rotation
from departments.limits.alert_models import AlertTarget
from departments.limits.grant_models import Grant
from departments.limits.models import CEILINGS, PERSON_CEILINGS, Limit
from departments.models import Department, Membership, Organization

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Kind:
    """How a model stands in the record: its name there and the fields that may be written."""

    name: str
    fields: tuple[str, ...]


@dataclass(frozen=True)
class Actor:
    """Who does something. A command has a name and no id."""

    id: UUID | None
    name: str
    address: str = ""
    organization: Organization | None = None


KINDS: dict[type[Model], Kind] = {
    Organization: Kind(
        "organization", ("name", "slug", "time_zone", "conversation_days", "admins_paste_keys", "second_factor")
    ),
    RetentionPolicy: Kind("retention", ("days",)),
    LegalHold: Kind("hold", ("reason", "set_by", "lifted_at")),
    Department: Kind(
        "department",
        (
            "name",
            "slug",
            "instructions",
            "off_limits",
            "rules_public",
            "provider",
            "model",
            "is_active",
            "typed_secrets",
            "document_review",
            "moderation",
            "query_policy",
            "files_allowed",
            "bytes_allowed",
            "paused_at",
            "pause_reason",
        ),
    ),
    User: Kind("person", ("name", "email", "role", "is_active")),
    DocumentSource: Kind("source", ("department", "name", "kind", "place", "path", "minutes", "is_active")),
    Departure: Kind("departure", ("reason",)),
    Membership: Kind("membership", ("user", "department", "role")),
    AlertTarget: Kind("alert target", ("kind", "address", "department", "is_active")),
    Grant: Kind("grant", ("person", "department", "measure", "period", "amount", "ends_at")),
    Limit: Kind(
        "limit",
        (
            "department",
            "person",
            "model",
            *CEILINGS,
            *PERSON_CEILINGS,
            "reason",
        ),
    ),
    KeyReference: Kind("key", ("version", "fingerprint", "state")),
    AdminKeyReference: Kind("admin key", ("version", "fingerprint", "state")),
    Rotation: Kind("rotation of", ("what", "step", "result")),
    KeyAccess: Kind("access to a key", ("person", "department", "how")),
    ProviderProject: Kind(
        "project",
        (
            "allowed_models",
            "monthly_cents",
            "alert_percents",
            "alert_recipients",
            "requests_per_minute",
            "tokens_per_minute",
            "retention",
            "key_days",
            "key_scopes",
        ),
    ),
    Finding: Kind("finding", ("kind", "closed_how")),
    CatalogueModel: Kind(
        "model",
        (
            "name",
            "kind",
            "context_tokens",
            "output_tokens",
            "smallest_answer",
            "price_input",
            "price_cached",
            "price_cache_write",
            "price_output",
            "long_prompt_tokens",
            "long_input_times",
            "long_output_times",
            "shutdown_on",
        ),
    ),
}


def snapshot(subject: Model) -> Values:
    """The fields of an object that may be written into the record, as JSON can hold them."""
    return {name: _plain(getattr(subject, name)) for name in KINDS[type(subject)].fields}


def stored(subject: Model) -> Values:
    """The same, as the database has them now, locked until the transaction ends."""
    return snapshot(type(subject)._default_manager.select_for_update().get(pk=subject.pk))


def record_act(
    request: HttpRequest,
    subject: Model,
    action: str,
    before: Values | None = None,
    after: Values | None = None,
    **more: Any,
) -> None:
    """Write that the viewer did `action` to `subject`. With `before` and `after`, only what differs is written.

    Where the person gave a reason with a fresh sign-in, both stand in the details.
    """
    confirmation = confirmation_of(request)
    more = {**(confirmation.details() if confirmation else {}), **more}
    viewer = viewer_of(request)
    actor = Actor(viewer.pk, str(viewer), client_address(request), viewer.organization)
    record_by(actor, subject, action, before, after, **more)


def record_by(
    actor: Actor,
    subject: Model,
    action: str,
    before: Values | None = None,
    after: Values | None = None,
    **more: Any,
) -> None:
    """The same where there is no request: a command, a task."""
    before, after = before or {}, after or {}
    changed = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    details = {
        "action": action,
        "subject": str(subject),
        "before": {name: before[name] for name in changed if name in before},
        "after": {name: after[name] for name in changed if name in after},
        **more,
    }
    record(_entry(actor, subject, details))


def record_difference(request: HttpRequest, subject: Model, before: Values, after: Values, **more: Any) -> None:
    """The same for a change; nothing where nothing differs."""
    if before != after:
        record_act(request, subject, "changed", before, after, **more)


def _entry(actor: Actor, subject: Model, details: Values) -> Entry:
    department = _department_of(subject)
    organization = _organization_of(subject, department, actor.organization)
    return Entry(
        event=Event.ADMIN_CHANGED,
        organization_id=organization.pk if organization else None,
        organization_name=organization.name if organization else "",
        department_id=department.pk if department else None,
        department_name=department.name if department else "",
        actor_id=actor.id,
        actor_name=actor.name,
        client_address=actor.address,
        subject_kind=KINDS[type(subject)].name,
        subject_id=str(subject.pk),
        details=details,
    )


def _department_of(subject: Model) -> Department | None:
    if isinstance(subject, Department):
        return subject
    return getattr(subject, "department", None)


def _organization_of(subject: Model, department: Department | None, own: Organization | None) -> Organization | None:
    if isinstance(subject, Organization):
        return subject
    if isinstance(subject, RetentionPolicy | LegalHold):  # the record holds plain values
        return Organization.objects.filter(pk=subject.organization_id).first()
    if department is not None:
        return department.organization
    # the catalogue belongs to nobody: whoever edits it finds the event in their own record
    return getattr(subject, "organization", own)


def _plain(value: Any) -> Any:
    if isinstance(value, Model):
        return f"{value} ({value.pk})"
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"  # 10 and 10.0000 are one amount
    return value if value is None or isinstance(value, bool | int | str) else str(value)
