"""Every table of ours can be traced to one organization, or says why it belongs to none."""

from __future__ import annotations

from django.apps import apps
from django.db.models import ForeignKey, Model, UUIDField

from departments.models import Organization

OURS = ("audit", "departments", "chatgrid")
# model label -> why no organization owns its rows
EXCEPTIONS = {
    "departments.Organization": "is the organization",
    "calls.CatalogueModel": "what providers offer; the same for all, edited by the platform's operator",
    "limits.Correction": "how far our count of a model is off; the same for all, tells nothing of any",
    "audit.AuditText": "belongs to its event, which names the organization",
    "audit.AuditSeal": "a hash over events of all; tells nothing of any",
    "audit.AuditLeaf": "a hash of one event, which names the organization",
    "audit.PushState": "how far a place of the deployment's operator has the events",
    "audit.AnchorState": "how far a place outside the database has the seals",
}


def models() -> list[type[Model]]:
    return [model for model in apps.get_models() if model.__module__.split(".")[0] in OURS]


def reaches_organization(model: type[Model], seen: frozenset[type[Model]] = frozenset()) -> bool:
    if model is Organization:
        return True
    fields = model._meta.concrete_fields
    if any(field.name == "organization_id" and isinstance(field, UUIDField) for field in fields):
        return True  # the record and the ledger hold plain values, which outlive what they name
    parents = [field.related_model for field in fields if isinstance(field, ForeignKey)]
    return any(reaches_organization(parent, seen | {model}) for parent in parents if parent not in seen | {model})


def test_every_model_has_a_path_to_its_organization() -> None:
    lost = [m._meta.label for m in models() if m._meta.label not in EXCEPTIONS and not reaches_organization(m)]
    assert not lost, f"Give these a foreign key that leads to Organization, or an entry in EXCEPTIONS: {lost}"


def test_no_exception_is_dead() -> None:
    labels = {model._meta.label for model in models()}
    dead = [label for label in EXCEPTIONS if label not in labels]
    assert not dead, f"Remove these from EXCEPTIONS: {dead}"
