"""How the department's documents are used: cited most and least, and the questions that found nothing.

Only who manages a department's documents sees it, and nobody's name stands in it (departments/documents/use.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from asgiref.sync import async_to_sync
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from chatgrid.documents.common import department_of, number_in, with_store
from chatgrid.documents.present import Pager
from departments.documents.store import open_store
from departments.documents.use import (
    ORDERS,
    Cited,
    MissedPage,
    keeps_questions,
    list_cited,
    list_unanswered,
    local_day,
)
from departments.http import PersonRequest, require_person
from departments.models import Department
from departments.roles import Right

SPANS = (30, 90, 365)  # days, today included
ROWS = 25


@dataclass(frozen=True)
class Asked:
    """What of the use is wanted: a span in days, an order, and where each of the two lists begins."""

    days: int
    order: str
    documents_from: int
    questions_from: int

    @classmethod
    def of(cls, request: HttpRequest) -> Asked:
        days, order = number_in(request, "days"), request.GET.get("order", "")
        return cls(
            days if days in SPANS else SPANS[0],
            order if order in ORDERS else "most",
            number_in(request, "from"),
            number_in(request, "questions"),
        )

    def query(self, **other: object) -> str:
        """The same in an address, with another choice; lists begin anew unless they are named."""
        return urlencode({"days": self.days, "order": self.order} | other)


@require_GET
@require_person
@with_store
def show_use(request: PersonRequest, slug: str) -> HttpResponse:
    """Both lists. `days` and `order` choose, `from` and `questions` are the lists' own pages."""
    department = department_of(request, slug, Right.MANAGE_DOCUMENTS)
    asked = Asked.of(request)
    cited, total, missed = async_to_sync(_look)(department, asked)
    context: dict[str, Any] = {
        "department": department,
        "asked": asked,
        "spans": [(days, asked.query(days=days)) for days in SPANS],
        "orders": [(order, asked.query(order=order)) for order in ORDERS],
        "cited": cited,
        "pager": Pager(asked.documents_from, ROWS, total),
        "query": asked.query(questions=asked.questions_from) + "&",
        "missed": missed,
        "missed_pager": Pager(asked.questions_from, ROWS, missed.different),
        "missed_query": asked.query(**{"from": asked.documents_from}) + "&",
        "keeps_questions": keeps_questions(department),
    }
    return render(request, "documents/use.html", context)


async def _look(department: Department, asked: Asked) -> tuple[list[Cited], int, MissedPage]:
    since = local_day(department) - timedelta(days=asked.days - 1)
    async with open_store(department) as store:
        cited, total = await list_cited(store, since, asked.order, offset=asked.documents_from, limit=ROWS)
        missed = await list_unanswered(store, since, offset=asked.questions_from, limit=ROWS)
    return cited, total, missed
