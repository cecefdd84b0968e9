"""The list of a department's documents, and what has changed in it since a page last asked.

Rules:
- One look at the queue, the counts and the page's rows; the cost does not grow with the department.
- Pages are synchronous, because their frame reads the database; what they ask of a store runs on the server's own loop,
  whose connections the chat uses too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from asgiref.sync import async_to_sync
from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.middleware.csrf import get_token
from django.shortcuts import render
from django.template.loader import get_template, render_to_string
from django.utils.dateparse import parse_datetime
from django.views.decorators.http import require_GET

from chatgrid.documents.common import common_context, department_of, number_in, uuid_or_none, uuids, with_store
from chatgrid.documents.present import Pager, Summary, shown_document
from departments.documents.listing import (
    GROUPS,
    ORDERS,
    Facets,
    Filter,
    Queue,
    count_due,
    count_facets,
    list_changed,
    list_fitting,
    look_at_queue,
)
from departments.documents.quotas import Usage, usage_of
from departments.documents.records import Document, DocumentPage, State
from departments.documents.store import Store, open_store
from departments.http import PersonRequest, require_person
from departments.models import Department
from departments.roles import Right

PAGE_SIZES = (50, 100, 500)
STATUS_ROWS = 100  # as many as one answer holds


@dataclass(frozen=True)
class Look:
    """One look at a store: everything that the list page shows."""

    page: DocumentPage
    facets: Facets
    queue: Queue
    usage: Usage
    due: tuple[int, int]
    now: datetime


@require_GET
@require_person
@with_store
def list_documents(request: PersonRequest, slug: str) -> HttpResponse:
    """The department's documents; what is in the address narrows, orders and pages the list."""
    department = department_of(request, slug, Right.READ_DOCUMENTS)
    wanted = filter_of(request)
    limit = number_in(request, "per")
    limit = limit if limit in PAGE_SIZES else PAGE_SIZES[0]
    look = async_to_sync(_look)(department, wanted, number_in(request, "from"), limit)
    context = row_context(request, department) | {
        "rows": [shown_document(document, look.queue) for document in look.page.documents],
        "wanted": wanted,
        "narrowed": wanted != Filter(order=wanted.order),
        "facets": look.facets,
        "groups": [(name, look.facets.of(name)) for name in GROUPS],
        "kinds": sorted(kind for kind in look.facets.kinds if kind),
        "orders": ORDERS,
        "page_sizes": PAGE_SIZES,
        "limit": limit,
        "summary": Summary.of(look.facets, look.queue, look.usage),
        "review_due": look.due[0],
        "stale": look.due[1],
        "since": look.now.isoformat(),
        "pager": Pager(look.page.offset, look.page.limit, look.page.total),
        "query": _query(request),
        "largest": settings.UPLOAD_BYTES,
    }
    return render(request, "documents/list.html", context)


@require_GET
@require_person
@with_store
def status(request: PersonRequest, slug: str) -> JsonResponse:
    """What has changed since `since`, and the documents asked about by `id`, as rows; deleted ones are left out."""
    department = department_of(request, slug, Right.READ_DOCUMENTS)
    ids = uuids(request.GET.getlist("id"), STATUS_ROWS)
    documents, look = async_to_sync(_changes)(department, _moment(request), ids)
    summary = render_to_string("documents/_summary.html", {"summary": Summary.of(look.facets, look.queue, look.usage)})
    return JsonResponse(
        {
            "rows": rows_of(request, department, documents, look.queue),
            "summary": summary,
            "counts": {"": look.facets.total} | {name: look.facets.of(name) for name in GROUPS},
            "working": look.facets.of("working"),
            "since": look.now.isoformat(),
        }
    )


def filter_of(request: HttpRequest) -> Filter:
    """The filter in the address; what is not understood is left out."""
    asked = request.GET
    return Filter(
        matching=asked.get("q", "").strip()[:200],
        group=asked.get("state", "") if asked.get("state") in GROUPS else "",
        kind=asked.get("kind", "")[:20],
        uploader=uuid_or_none(asked.get("by", "")),
        due=asked.get("due") == "1",
        order=asked.get("order", "") if asked.get("order") in ORDERS else "newest",
    )


def row_context(request: PersonRequest, department: Department) -> dict[str, Any]:
    """What a row needs; without the request, because it has no use for the frame of a page."""
    return common_context(request, department) | {"csrf_token": get_token(request)}


def rows_of(
    request: PersonRequest, department: Department, documents: Sequence[Document], queue: Queue
) -> dict[str, str]:
    """Rows of the list as they are now, by the document's id."""
    template, context = get_template("documents/_row.html"), row_context(request, department)
    return {
        str(document.id): template.render(context | {"row": shown_document(document, queue)}) for document in documents
    }


async def _look(department: Department, wanted: Filter, offset: int, limit: int) -> Look:
    async with open_store(department) as store:
        page = await list_fitting(store, wanted, offset=offset, limit=limit)
        _, now = await list_changed(store, None, [], limit=0)
        return await _around(store, page, now)


async def _changes(department: Department, since: datetime | None, ids: list[UUID]) -> tuple[list[Document], Look]:
    async with open_store(department) as store:
        documents, now = await list_changed(store, since, ids, limit=STATUS_ROWS)
        return documents, await _around(store, DocumentPage(documents, len(documents), 0, STATUS_ROWS), now)


async def _around(store: Store, page: DocumentPage, now: datetime) -> Look:
    waiting = [each.latest.id for each in page.documents if each.latest.state is State.RECEIVED]
    return Look(
        page=page,
        facets=await count_facets(store),
        queue=await look_at_queue(store, waiting),
        usage=usage_of(store.department, await store.count()),
        due=await count_due(store),
        now=now,
    )


def _moment(request: HttpRequest) -> datetime | None:
    try:
        moment = parse_datetime(request.GET.get("since", ""))
    except ValueError:
        return None
    return moment if moment and moment.tzinfo else None


def _query(request: HttpRequest) -> str:
    """The address's own choices without the place in the list, to be followed by it."""
    kept = [(name, value) for name, value in request.GET.items() if name != "from" and value]
    return f"{urlencode(kept)}&" if kept else ""
