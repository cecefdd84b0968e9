"""The console's navigation: people, then the eight controls in their order, each with its pages.

A new page is one entry here; the frame, the home page and the tests find it by themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Model
from django.http import HttpRequest
from django.urls import reverse

from audit.models import AuditEvent, LegalHold
from chatgrid.accounts.models import User
from chatgrid.console.models import Departure
from departments.calls.models import CatalogueModel
from departments.documents.models import DocumentSource
from departments.keys.models import AdminKeyReference, Finding, KeyReference, ProviderProject
from departments.keys.rotation_models import KeyAccess, Rotation
from departments.limits.alert_models import AlertTarget
from departments.limits.grant_models import Grant
from departments.limits.models import Limit
from departments.models import Department, Membership, Organization


@dataclass(frozen=True)
class Page:
    """A page that is no list of a model. `route` is a name of the URLconf, with its namespace."""

    name: str
    route: str


@dataclass(frozen=True)
class Section:
    """A part of the navigation; `number` is the control's, 0 for what belongs to none."""

    number: int
    name: str
    icon: str
    pages: Sequence[type[Model] | Page]


RECORD = (
    AuditEvent,
    Page("Charts", "admin:audit_auditevent_charts"),
    Page("Seals", "admin:audit_auditevent_seals"),
    Page("Export", "export_record"),
    LegalHold,
)
SECTIONS: Sequence[Section] = (
    Section(0, "Now", "clock", (Page("Live", "admin:live"),)),
    Section(0, "People", "people", (User, Membership, Departure)),
    Section(1, "Server only", "console", (CatalogueModel,)),
    Section(2, "Keys", "lock", (KeyReference, AdminKeyReference, KeyAccess)),
    Section(3, "Projects", "copy", (ProviderProject, Finding)),
    Section(4, "Departments", "files", (Department, DocumentSource, Organization)),
    Section(5, "Record", "check", RECORD),
    Section(6, "Limits", "clock", (Limit, Grant, AlertTarget)),
    Section(7, "Rotation", "retry", (Rotation,)),
    Section(8, "Prompt injection", "alert", ()),
)


def sections_for(request: HttpRequest) -> list[dict[str, Any]]:
    """The navigation as the frame draws it. The longest address that the page's own begins with is the current one."""
    drawn: list[dict[str, Any]] = [
        {
            "number": section.number,
            "name": section.name,
            "icon": section.icon,
            "pages": list(map(_drawn, section.pages)),
        }
        for section in SECTIONS
    ]
    pages = [page for section in drawn for page in section["pages"]]
    here = [page for page in pages if request.path.startswith(page["url"])]
    if here:
        max(here, key=lambda page: len(page["url"]))["is_current"] = True
    for section in drawn:
        section["is_current"] = any(page["is_current"] for page in section["pages"])
    return drawn


def _drawn(page: type[Model] | Page) -> dict[str, Any]:
    return {"name": name_of(page), "url": address_of(page), "is_current": False}


def name_of(page: type[Model] | Page) -> str:
    return page.name if isinstance(page, Page) else str(page._meta.verbose_name_plural).capitalize()


def address_of(page: type[Model] | Page) -> str:
    if isinstance(page, Page):
        return reverse(page.route)
    return reverse(f"admin:{page._meta.app_label}_{page._meta.model_name}_changelist")
