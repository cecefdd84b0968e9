"""The page Budget: what is left and when it resets, asking for more, and for admins granting and ending it."""

from __future__ import annotations

from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from chatgrid.flood import shield
from departments.access import Forbidden, access_department
from departments.calls import grants, more
from departments.calls.meter import budgets_of, meter_of
from departments.http import PersonRequest, client_address, require_person
from departments.models import Department
from departments.roles import Right


@require_GET
@require_person
def budget(request: PersonRequest, slug: str) -> HttpResponse:
    department = access_department(request.person, slug, Right.CHAT)
    return _page(request, department)


@require_POST
@require_person
@shield("more")
def ask(request: PersonRequest, slug: str) -> HttpResponse:
    """Ask for more, with a reason."""
    department = access_department(request.person, slug, Right.CHAT)
    reason = request.POST.get("reason", "")
    try:
        more.ask_for_more(request.person, department, reason, client_address(request))
    except grants.NotPossible as error:
        return _page(request, department, problem=str(error), reason=reason, status=400)
    messages.success(request, f"{more.who_decides(request.person, department)} has been told.")
    return redirect("chat:budget", slug)


@require_POST
@require_person
@shield("more")
def answer(request: PersonRequest, slug: str, asked_id: UUID) -> HttpResponse:
    """Grant a request with an amount and an end, or decline it."""
    department = access_department(request.person, slug, Right.GRANT_MORE)
    address = client_address(request)
    try:
        if "decline" in request.POST:
            more.decline(department, asked_id, request.person, address)
            messages.success(request, "Declined. It is in the record.")
        else:
            amount, end = request.POST.get("amount", ""), request.POST.get("end", "")
            made = more.grant(department, asked_id, request.person, amount, end, address)
            messages.success(request, f"{made.person} has more now. It ends by itself.")
    except grants.NotPossible as error:
        messages.error(request, str(error))
    return redirect("chat:budget", slug)


@require_POST
@require_person
@shield("more")
def end_grant(request: PersonRequest, slug: str, grant_id: UUID) -> HttpResponse:
    """End a grant before its end, with a reason."""
    department = access_department(request.person, slug, Right.GRANT_MORE)
    reason = request.POST.get("reason", "")
    try:
        ended = grants.end_early(department, grant_id, request.person, reason, client_address(request))
        messages.success(request, f"What {ended.person} was granted has ended. It is in the record.")
    except grants.NotPossible as error:
        messages.error(request, str(error))
    return redirect("chat:budget", slug)


def _may_grant(request: PersonRequest, department: Department) -> bool:
    try:
        access_department(request.person, department.slug, Right.GRANT_MORE)
    except Forbidden:
        return False
    return True


def _page(
    request: PersonRequest, department: Department, *, problem: str = "", reason: str = "", status: int = 200
) -> HttpResponse:
    request.department = department  # type: ignore[attr-defined]  # the shell shows where the person is
    person, organization = request.person, department.organization
    can_grant = _may_grant(request, department)
    context: dict[str, Any] = {
        "department": department,
        "budgets": budgets_of(person, department) or [meter_of(person, organization, department)],
        "own": more.own_budget(person, department),
        "open_request": more.open_request(person, department),
        "decides": more.who_decides(person, department),
        "own_grants": grants.current_grants(department, person),
        "can_grant": can_grant,
        "waiting": more.waiting_in(department, person) if can_grant else [],
        "grants": grants.current_grants(department) if can_grant else [],
        "ends": more.ENDS,
        "zone": ZoneInfo(organization.time_zone),
        "longest_reason": grants.LONGEST_REASON,
        "problem": problem,
        "reason": reason,
    }
    return render(request, "chat/budget.html", context, status=status)
