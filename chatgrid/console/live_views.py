"""The live page and its buttons: stop one answer, pause and resume a department."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse

from chatgrid.accounts.models import User
from chatgrid.console import live
from chatgrid.console.fresh import LONGEST_REASON, require_confirmation
from chatgrid.console.recording import record_act, snapshot
from chatgrid.console.scope import may_change, viewer_of, visible
from departments.models import Department

ON_A_PAGE = 25


def live_page(request: HttpRequest) -> HttpResponse:
    """What happens right now."""
    from chatgrid.console.site import site  # the site routes to this module

    viewer = viewer_of(request)
    paused = live.departments(viewer)
    page = Paginator(paused, ON_A_PAGE).get_page(request.GET.get("p"))
    shown = {
        **site.each_context(request),
        "title": "Live",
        "running": live.running(viewer),
        "running_number": live.count_running(viewer),
        "tokens": live.tokens_by_minute(viewer),
        "broken_off": live.provider_errors(viewer),
        "waiting": live.waiting(),
        "departments": page,
        "longest_reason": LONGEST_REASON,
        "minutes": round(live.REACH.total_seconds() / 60),
    }
    return TemplateResponse(request, "console/live.html", shown)


def stop_call(request: HttpRequest, call_id: UUID) -> HttpResponse:
    _require_it(request)
    call = live.call_under_way(viewer_of(request), call_id)
    if call is None:
        messages.info(request, "That answer had ended already.")
        return redirect("admin:live")
    department = Department.objects.get(pk=call.department_id)
    person = User.objects.filter(pk=call.person_id).values_list("name", flat=True).first()
    require_confirmation(request, f"Stop the answer for {person or 'somebody'} in {department}.")
    with transaction.atomic():
        live.stop(call)
        record_act(request, department, "answer stopped", call=str(call_id), person=str(call.person_id))
    messages.success(request, "The answer ends within five seconds.")
    return redirect("admin:live")


def pause_department(request: HttpRequest, department_id: UUID) -> HttpResponse:
    department = _department(request, department_id)
    confirmed = require_confirmation(request, f"Pause {department}: no call is made, and its people read your reason.")
    with transaction.atomic():
        before = snapshot(department)
        live.pause(department, confirmed.reason)
        record_act(request, department, "paused", before, snapshot(department))
    messages.success(request, f"{department} is paused: no call is made, and running answers end within five seconds.")
    return redirect("admin:live")


def resume_department(request: HttpRequest, department_id: UUID) -> HttpResponse:
    department = _department(request, department_id)
    require_confirmation(request, f"Let {department} answer again.")
    with transaction.atomic():
        before = snapshot(department)
        live.resume(department)
        record_act(request, department, "resumed", before, snapshot(department))
    messages.success(request, f"{department} goes on.")
    return redirect("admin:live")


def _department(request: HttpRequest, department_id: UUID) -> Department:
    _require_it(request)
    found = visible(Department.objects.filter(pk=department_id), viewer_of(request)).first()
    if found is None:
        raise Http404
    return found


def _require_it(request: HttpRequest) -> None:
    if not may_change(request.user):
        raise PermissionDenied
