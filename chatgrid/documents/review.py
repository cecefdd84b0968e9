"""Documents that wait for somebody of the department: the list of them, the text to read, and the decision.

Rules:
- Only who manages a department's documents sees these pages; anybody else gets what they get everywhere: 404 or 403.
- The text is shown as the file has it: what the scanner met is marked, what nobody can see is made visible.
- A decision needs a reason. Deciding is a form of its own with two buttons, and works without JavaScript.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from asgiref.sync import async_to_sync
from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from chatgrid.documents.common import with_store
from chatgrid.documents.present import Pager
from departments.access import NotFound, access_department
from departments.documents import held, review
from departments.documents.held import Held, HeldBlock
from departments.documents.store import open_store
from departments.http import PersonRequest, client_address, require_person
from departments.models import Department
from departments.roles import Right

BLOCKS_SHOWN = 100
HELD_SHOWN = 50
DECISIONS = {"approve": review.approve, "reject": review.reject}
SAID = {
    "approve": "{title} is approved. It is being read, and the chat answers from it in a moment.",
    "reject": "{title} is rejected. The chat will not answer from it.",
}
TOO_LATE = "Somebody else has decided about {title} already."


class DecisionForm(forms.Form):
    """What somebody decided about a held document, and why."""

    decision = forms.ChoiceField(choices=[(name, name) for name in DECISIONS])
    reason = forms.CharField(
        max_length=review.LONGEST_REASON,
        error_messages={"required": review.NO_REASON},
        help_text="Kept in the record, and shown on the document's page if you reject it.",
        widget=forms.Textarea(attrs={"rows": 3}),
    )


@require_GET
@require_person
@with_store
def list_held(request: PersonRequest, slug: str) -> HttpResponse:
    """What waits in this department, the oldest first."""
    department = _managed(request, slug)
    waiting, total, offset = async_to_sync(_list)(department, _offset(request))
    context = {"department": department, "waiting": waiting, "pager": Pager(offset, HELD_SHOWN, total)}
    return render(request, "documents/held.html", context)


@require_GET
@require_person
@with_store
def read(request: PersonRequest, slug: str, version_id: UUID) -> HttpResponse:
    """The text of one; `all` shows also what is not marked."""
    return _page(request, _managed(request, slug), version_id, DecisionForm())


@require_POST
@require_person
@with_store
def decide(request: PersonRequest, slug: str, version_id: UUID) -> HttpResponse:
    """Approve or reject, with a reason."""
    department = _managed(request, slug)
    found = async_to_sync(_get)(department, version_id)
    form = DecisionForm(request.POST)
    if not form.is_valid():
        return _page(request, department, version_id, form, status=400)
    decision = form.cleaned_data["decision"]
    decided = async_to_sync(DECISIONS[decision])(
        department, request.person, version_id, form.cleaned_data["reason"], address=client_address(request)
    )
    sentence = SAID[decision] if decided else TOO_LATE
    messages.add_message(request, messages.SUCCESS if decided else messages.WARNING, sentence.format(title=found.title))
    return redirect("documents:held", department.slug)


def _page(
    request: PersonRequest, department: Department, version_id: UUID, form: DecisionForm, *, status: int = 200
) -> HttpResponse:
    found = async_to_sync(_get)(department, version_id)
    shows_all, offset = "all" in request.GET, _offset(request)
    blocks, total, marked = async_to_sync(_blocks)(department, version_id, not shows_all, offset)
    context = {
        "department": department,
        "held": found,
        "blocks": blocks,
        "marked": marked,
        "total": total,
        "shows_all": shows_all,
        "form": form,
        "waits": found.state == "held",
        "pager": Pager(offset, BLOCKS_SHOWN, total if shows_all else marked),
        "query": "all=1&" if shows_all else "",
    }
    return render(request, "documents/review.html", context, status=status)


def _managed(request: PersonRequest, slug: str) -> Department:
    department = access_department(request.person, slug, Right.MANAGE_DOCUMENTS)
    request.department = department  # type: ignore[attr-defined]  # the shell shows where the person is
    return department


async def _list(department: Department, offset: int) -> tuple[list[Held], int, int]:
    async with open_store(department) as store:
        waiting = await held.list_held(store, offset=offset, limit=HELD_SHOWN)
        return waiting, await held.count_held(store), offset


async def _get(department: Department, version_id: UUID) -> Held:
    async with open_store(department) as store:
        found = await held.get_held(store, version_id)
    if found is None:
        raise NotFound("There is no such document.")
    return found


async def _blocks(
    department: Department, version_id: UUID, only_marked: bool, offset: int
) -> tuple[list[HeldBlock], int, int]:
    async with open_store(department) as store:
        shown = await held.list_blocks(store, version_id, only_marked=only_marked, offset=offset, limit=BLOCKS_SHOWN)
        return (shown, *await held.count_blocks(store, version_id))


def _offset(request: PersonRequest) -> int:
    text: Any = request.GET.get("from", "")
    return int(text) if text.isdecimal() and len(text) < 8 else 0
