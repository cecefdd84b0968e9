"""Receipts of deleted documents, for the department's admins. Only the record remembers the documents."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from audit.events import Event
from audit.models import AuditEvent
from chatgrid.documents.common import department_of, number_in
from chatgrid.documents.present import Pager
from departments.http import PersonRequest, require_person
from departments.roles import Right

RECEIPTS_SHOWN = 100


@require_GET
@require_person
def list_receipts(request: PersonRequest, slug: str) -> HttpResponse:
    """What was deleted, by whom and when, newest first."""
    department = department_of(request, slug, Right.MANAGE_DOCUMENTS)
    deleted = AuditEvent.objects.filter(department_id=department.pk, event=Event.DOCUMENT_DELETED)
    offset = number_in(request, "from")
    context = {
        "department": department,
        "receipts": deleted.order_by("-at")[offset : offset + RECEIPTS_SHOWN],
        "pager": Pager(offset, RECEIPTS_SHOWN, deleted.count()),
    }
    return render(request, "documents/receipts.html", context)
