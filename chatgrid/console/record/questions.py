"""Finding a known question among those of which the record keeps a keyed hash only.

Rules:
- The auditor types the question; it is hashed with each department's own key and the hash is looked for. The words are
  neither stored nor put into an address, and who has the record alone can do nothing of the kind.
- Looking is an event, with the hashes and the number of finds, written before the finds are shown.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from asgiref.sync import async_to_sync
from django import forms
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from audit.events import Event
from audit.models import AuditEvent
from audit.writer import Entry, record
from chatgrid.accounts.models import User
from chatgrid.console.record.entry import may_read_questions
from chatgrid.console.record.filters import begin_of, date_field
from chatgrid.console.scope import viewer_of, visible
from chatgrid.console.site import site
from departments.calls.query_policy import KEYED, known_digest_of
from departments.http import client_address
from departments.keys.vaults import SecretMissing, VaultError
from departments.models import Department

MOST = 100

logger = logging.getLogger(__name__)


class QuestionForm(forms.Form):
    """A question word for word; case and spacing do not matter."""

    question = forms.CharField(
        max_length=8_000,
        widget=forms.Textarea(attrs={"rows": 3, "autocomplete": "off"}),
        help_text="Word for word as it was asked. Upper and lower case and spacing do not matter.",
    )
    department = forms.ModelChoiceField(Department.objects.none(), required=False, empty_label="Every department")
    since = date_field("From")

    def __init__(self, data: Any, viewer: User) -> None:
        super().__init__(data, label_suffix="")
        own = visible(Department.objects.select_related("organization").order_by("name"), viewer)
        self.fields["department"].queryset = own  # type: ignore[attr-defined]


@sensitive_post_parameters("question")
@never_cache
@require_http_methods(["GET", "POST"])
def find_question(request: HttpRequest) -> HttpResponse:
    """The form and what it found. For auditors alone: it tells who asked what."""
    viewer = viewer_of(request)
    if not may_read_questions(viewer):
        raise PermissionDenied
    form = QuestionForm(request.POST if request.method == "POST" else None, viewer)
    context: dict[str, Any] = {"found": None, "unreadable": []}
    if request.method == "POST" and form.is_valid():
        context = _look(request, form, viewer)
    page = {**site.each_context(request), "title": "Find a question", "tab": "questions", "form": form, "most": MOST}
    return TemplateResponse(request, "console/record/questions.html", {**page, **context})


def _look(request: HttpRequest, form: QuestionForm, viewer: User) -> dict[str, Any]:
    chosen = form.cleaned_data["department"]
    departments = [chosen] if chosen else list(form.fields["department"].queryset)  # type: ignore[attr-defined]
    digests, unreadable = _digests(departments, form.cleaned_data["question"])
    hashed = AuditEvent.objects.filter(query_hash__in=digests, department_id__in=[each.pk for each in departments])
    rows = visible(hashed, viewer)
    if form.cleaned_data["since"]:
        rows = rows.filter(at__gte=begin_of(form.cleaned_data["since"]))
    found = list(rows.filter(event=Event.CALL_REQUESTED).order_by("-at")[:MOST])
    record(_searching(request, viewer, digests, len(found)))
    return {"found": found, "unreadable": unreadable}


def _digests(departments: Sequence[Department], question: str) -> tuple[list[str], list[Department]]:
    """The hashes of the question, and the departments whose key cannot be read now."""
    digests, unreadable = [], []
    for department in departments:
        try:
            digests.append(async_to_sync(known_digest_of)(department, question))
        except SecretMissing:
            continue  # this department has never hashed a question
        except VaultError as error:
            logger.error("the pepper of department %s cannot be read: %s", department.pk, type(error).__name__)
            unreadable.append(department)
    return digests, unreadable


def _searching(request: HttpRequest, viewer: User, digests: Sequence[str], found: int) -> Entry:
    organization = viewer.organization
    return Entry(
        event=Event.QUESTION_SEARCHED,
        organization_id=viewer.organization_id,
        organization_name=organization.name if organization else "",
        actor_id=viewer.pk,
        actor_name=str(viewer),
        client_address=client_address(request),
        subject_kind="question",
        details={"hashes": [digest.removeprefix(KEYED) for digest in digests], "found": found},
    )
