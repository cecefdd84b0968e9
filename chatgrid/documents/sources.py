"""The folders and buckets that feed a department: when they were looked at, what changed, what went wrong, what waits.

Which place feeds which department is IT's choice, in the console; an admin of the department sees it, has it looked at
now, pauses it, and decides about files that are gone.
"""

from __future__ import annotations

from uuid import UUID

from asgiref.sync import async_to_sync
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from audit.events import Event
from audit.writer import Entry, record
from chatgrid.documents.common import department_of, with_store
from chatgrid.flood import shield
from departments.access import NotFound
from departments.documents import tasks
from departments.documents.models import DocumentSource
from departments.documents.places import PlaceDown
from departments.documents.sources import keep_vanished
from departments.http import PersonRequest, client_address, require_person
from departments.models import Department
from departments.roles import Right

RUNS_SHOWN = 5


@require_GET
@require_person
def list_sources(request: PersonRequest, slug: str) -> HttpResponse:
    """The department's sources with their last runs."""
    department = department_of(request, slug, Right.MANAGE_DOCUMENTS)
    sources = DocumentSource.objects.filter(department=department).prefetch_related("runs")
    now = timezone.now()
    shown = [
        {
            "source": source,
            "runs": list(source.runs.all())[:RUNS_SHOWN],
            "busy": bool(source.busy_until and source.busy_until > now),
        }
        for source in sources
    ]
    return render(request, "documents/sources.html", {"department": department, "sources": shown})


@require_POST
@require_person
@shield("upload")
@with_store
def act_on_source(request: PersonRequest, slug: str, source_id: UUID) -> HttpResponse:
    """`act`: run it now, pause or resume it, delete or keep what is gone from it."""
    department = department_of(request, slug, Right.MANAGE_DOCUMENTS)
    source = DocumentSource.objects.filter(department=department, pk=source_id).first()
    if source is None:
        raise NotFound("There is no such source.")
    source.department = department
    act = ACTS.get(request.POST.get("act", ""))
    if act is not None:
        messages.success(request, act(request, department, source))
    return redirect("documents:sources", department.slug)


def _run(request: PersonRequest, department: Department, source: DocumentSource) -> str:
    _change(source, next_at=timezone.now())
    tasks.announce_source(source.pk)
    return f"{source.name} is looked at in a moment."


def _pause(request: PersonRequest, department: Department, source: DocumentSource) -> str:
    _change(source, is_active=not source.is_active, next_at=timezone.now())
    return f"{source.name} is {'synchronised again' if not source.is_active else 'paused'}."


def _delete(request: PersonRequest, department: Department, source: DocumentSource) -> str:
    _change(source, may_delete=source.vanished, next_at=timezone.now())
    _record(request, department, source, "delete")
    tasks.announce_source(source.pk)
    return f"Up to {source.vanished} documents of {source.name} are deleted, each with a receipt."


def _keep(request: PersonRequest, department: Department, source: DocumentSource) -> str:
    try:
        async_to_sync(keep_vanished)(source)
    except PlaceDown as down:
        return str(down)
    _record(request, department, source, "keep")
    return f"The documents whose files are gone from {source.name} stay."


ACTS = {"run": _run, "pause": _pause, "delete": _delete, "keep": _keep}


def _change(source: DocumentSource, **fields: object) -> None:
    DocumentSource.objects.filter(pk=source.pk).update(**fields)


def _record(request: PersonRequest, department: Department, source: DocumentSource, decision: str) -> None:
    record(
        Entry(
            event=Event.SOURCE_DECIDED,
            **department.in_record,
            actor_id=request.person.id,
            actor_name=request.person.name,
            client_address=client_address(request),
            subject_kind="source",
            subject_id=str(source.pk),
            details={"name": source.name, "decision": decision, "vanished": source.vanished},
        )
    )
