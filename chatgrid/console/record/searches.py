"""Saved searches: the filters of the list under a name, each person's own."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_POST

from chatgrid.console.models import SavedSearch
from chatgrid.console.record.filters import RecordForm
from chatgrid.console.scope import viewer_of

MOST = 50


@require_POST
def save_search(request: HttpRequest) -> HttpResponse:
    """Keep the filters under a name; a name that is there already gets the new filters."""
    viewer = viewer_of(request)
    name = request.POST.get("name", "").replace("\x00", "").strip()[: SavedSearch._meta.get_field("name").max_length]
    form = RecordForm(QueryDict(request.POST.get("query", "")), viewer)
    query = urlencode(form.chosen)
    kept = SavedSearch.objects.filter(owner=viewer)
    if not name or not query or not form.is_valid():
        messages.error(request, "Nothing was saved. Choose a filter and apply it, then give the search a name.")
    elif kept.count() >= MOST and not kept.filter(name=name).exists():
        messages.error(request, f"You have {MOST} searches already. Remove one first.")
    else:
        SavedSearch.objects.update_or_create(owner=viewer, name=name, defaults={"query": query})
        messages.success(request, f"Saved as “{name}”.")
    return redirect(f"{reverse('admin:audit_auditevent_changelist')}?{urlencode(parse_qsl(query))}")


@require_POST
def remove_search(request: HttpRequest, search_id: UUID) -> HttpResponse:
    """404 for somebody else's, as for one that never was."""
    removed, _ = SavedSearch.objects.filter(owner=viewer_of(request), pk=search_id).delete()
    if not removed:
        raise Http404
    messages.success(request, "The search was removed. The record is as it was.")
    return redirect("admin:audit_auditevent_changelist")
