"""A department admin's page about the department's key: how it stands, and a new one where the organization allows it.

Rules:
- Members of the department without the right get 403, everybody else 404: `access_department` decides.
- Pasting asks for a fresh sign-in first, as it does in IT's console; the form is the same (pasting.py).
"""

from __future__ import annotations

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_GET, require_http_methods

from chatgrid.console.fresh import confirmed
from chatgrid.console.pasting import TAKEN, KeyForm, hand_in
from departments.access import access_department
from departments.http import PersonRequest, require_person
from departments.keys.standing import standing_of
from departments.models import Department
from departments.roles import Right


@never_cache
@require_GET
@require_person
def department_key(request: PersonRequest, slug: str) -> HttpResponse:
    """State, age and last use of the department's key."""
    department = _department(request, slug)
    context = {"department": department, "standing": standing_of(department), "may_paste": _may_paste(department)}
    return render(request, "console/department_key.html", context)


@sensitive_post_parameters("key")
@never_cache
@require_http_methods(["GET", "POST"])
@require_person
def paste_department_key(request: PersonRequest, slug: str) -> HttpResponse:
    """The form for a new key. 403 where the organization leaves that to IT."""
    department = _department(request, slug)
    if not _may_paste(department):
        raise PermissionDenied
    return _paste(request, department)


@confirmed("Exchange the department’s key.", secret=["key"], allowed=lambda person: person.is_active)
def _paste(request: HttpRequest, department: Department) -> HttpResponse:
    form = KeyForm(department, request.POST or None)
    if form.is_valid() and hand_in(request, department, form):
        messages.success(request, TAKEN.format(department))
        return redirect("department_key", department.slug)
    return render(request, "console/department_key_paste.html", {"department": department, "form": form})


def _department(request: PersonRequest, slug: str) -> Department:
    department = access_department(request.person, slug, Right.SEE_KEY)
    request.department = department  # type: ignore[attr-defined]  # the shell shows where the person is
    return department


def _may_paste(department: Department) -> bool:
    return department.organization.admins_paste_keys
