"""Who may use the console, and which rows they see there.

Rules:
- The role decides; Django's permissions and groups are never read. IT changes, an auditor looks, nobody else enters.
- A person of an organization sees that organization's rows. A model without an entry in `PATHS` cannot be shown at all.
- The platform's operator (superuser) sees every organization; nobody else sees an operator.
- The catalogue of models is one for the whole deployment: IT edits it while theirs is the only organization.
"""

from __future__ import annotations

from typing import Any, TypeVar, cast

from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import HttpRequest

from audit.models import AuditEvent, LegalHold
from chatgrid.accounts.models import User
from chatgrid.console.models import ControlProof, Departure
from departments.calls.models import CatalogueModel
from departments.documents.models import DocumentSource
from departments.keys.models import AdminKeyReference, Finding, KeyReference, ProviderProject
from departments.keys.rotation_models import KeyAccess, Rotation
from departments.limits.alert_models import AlertTarget
from departments.limits.grant_models import Grant
from departments.limits.models import Limit, Reservation
from departments.models import Department, Membership, Organization
from departments.roles import OrganizationRole

M = TypeVar("M", bound=Model)

# model -> the lookup that leads to its organization; None: the same rows for every organization
PATHS: dict[type[Model], str | None] = {
    Organization: "pk",
    Department: "organization",
    User: "organization",
    Membership: "department__organization",
    Limit: "organization",
    Grant: "organization",
    AlertTarget: "organization",
    Reservation: "organization_id",
    KeyReference: "department__organization",
    AdminKeyReference: "organization",
    Rotation: "organization",
    KeyAccess: "organization",
    ProviderProject: "department__organization",
    Finding: "department__organization",
    AuditEvent: "organization_id",
    LegalHold: "organization_id",
    ControlProof: "organization",
    Departure: "organization",
    DocumentSource: "department__organization",
    CatalogueModel: None,
}


def viewer_of(request: HttpRequest) -> User:
    """The person who looks; the console's gate has let nobody else pass."""
    return cast(User, request.user)


def may_enter(person: Any) -> bool:
    """IT and auditors of an organization, and operators. Asked at every request, so that a lost role closes at once."""
    if not person.is_authenticated or not person.is_active:
        return False
    return person.is_superuser or (
        person.organization_id is not None and person.role in {OrganizationRole.IT, OrganizationRole.AUDITOR}
    )


def may_change(person: Any) -> bool:
    return may_enter(person) and (person.is_superuser or person.role == OrganizationRole.IT)


def lock_with_viewer(request: HttpRequest, person: User) -> User:
    """The person as they are now, locked together with whoever changes them, until the transaction ends.

    Of two of IT who end each other at the same moment only the first does: a company keeps somebody of IT. Raises
    PermissionDenied for a viewer who has lost the right to it meanwhile.
    """
    pair = User.objects.select_for_update().filter(pk__in={viewer_of(request).pk, person.pk})
    rows = {row.pk: row for row in pair.order_by("pk")}
    if not may_change(rows[viewer_of(request).pk]):
        raise PermissionDenied
    return rows[person.pk]


def may_change_catalogue(person: Any) -> bool:
    return may_change(person) and (person.is_superuser or is_only_organization())


def is_only_organization() -> bool:
    return len(Organization.objects.order_by().values_list("pk")[:2]) == 1


def visible(rows: QuerySet[M], viewer: User) -> QuerySet[M]:
    """The rows of this queryset that belong to the viewer's organization. KeyError for a model nobody thought about."""
    path = PATHS[rows.model]
    if viewer.is_superuser or path is None:
        return rows
    if viewer.organization_id is None:
        return rows.none()
    own = rows.filter(**{path: viewer.organization_id})
    return own.filter(is_superuser=False) if rows.model is User else own
