"""What every documents page needs: the department, its store's sentence when it is away, and ids out of an address.

Rules:
- Every view gets its department through `department_of` (or its asynchronous twin in departments/access.py): not yours
  is 404, yours without the right is 403.
- A store that is away gives a sentence and 503.
"""

from __future__ import annotations

from functools import wraps
from inspect import iscoroutinefunction
from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.template.loader import render_to_string

from departments.access import NotFound, access_department, departments_of
from departments.documents.records import DocumentDetail
from departments.documents.store import StoreDown, open_store
from departments.http import Person, PersonRequest, wants_json
from departments.models import Department
from departments.roles import GRANTED, Right

NO_DOCUMENT = "There is no such document."


def with_store(view: Any) -> Any:
    """Decorator: a store that is away becomes its sentence, for a page and for a script."""

    @wraps(view)
    async def asynchronous(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            return await view(request, *args, **kwargs)  # type: ignore[no-any-return]
        except StoreDown as down:
            return unavailable(request, down)

    @wraps(view)
    def synchronous(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            return view(request, *args, **kwargs)  # type: ignore[no-any-return]
        except StoreDown as down:
            return unavailable(request, down)

    return asynchronous if iscoroutinefunction(view) else synchronous


def unavailable(request: HttpRequest, down: StoreDown) -> HttpResponse:
    problem = {"title": "Documents are away", "sentence": down.sentence, "status": 503}
    if wants_json(request):
        return JsonResponse(problem, status=503)
    return HttpResponse(render_to_string("errors/problem.html", problem), status=503)


def department_of(request: PersonRequest, slug: str, right: Right) -> Department:
    """The department of this address, if the person holds the right in it."""
    department = access_department(request.person, slug, right)
    request.department = department  # type: ignore[attr-defined]  # the shell shows where the person is
    return department


def common_context(request: PersonRequest, department: Department) -> dict[str, Any]:
    """What every page and row shows by."""
    return {"department": department, "can_manage": _may_manage(request.person, department)}


def _may_manage(person: Person, department: Department) -> bool:
    roles = departments_of(person).filter(department=department).values_list("role", flat=True)
    return any(Right.MANAGE_DOCUMENTS in GRANTED[role] for role in roles)


async def get_document(department: Department, document_id: UUID) -> DocumentDetail:
    """The document with its versions; 404 where there is none in this department."""
    async with open_store(department) as store:
        found = await store.get_document(document_id)
    if found is None:
        raise NotFound(NO_DOCUMENT)
    return found


def number_in(request: HttpRequest, name: str) -> int:
    """A small number out of the address, else 0."""
    text = request.GET.get(name, "")
    return int(text) if text.isdecimal() and len(text) < 8 else 0


def number_or_none(request: HttpRequest, name: str) -> int | None:
    """The same, and None where the address names none."""
    return number_in(request, name) if request.GET.get(name, "").isdecimal() else None


def uuid_or_none(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def uuids(texts: list[str], most: int) -> list[UUID]:
    """The first `most` that are ids; the others are left out."""
    return [found for text in texts[:most] if (found := uuid_or_none(text))]
