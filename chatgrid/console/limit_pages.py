"""Many limits at once: a CSV out, a CSV in, and a change of those that were chosen. Each is shown before it is done.

The plan that is shown is named by its digest; what is done is that plan or nothing, so a change by somebody else in
between is seen. Lifting limits is a dangerous act, so the last step needs a fresh sign-in and a reason.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils import timezone

from chatgrid.console.fresh import confirmed, reason_of
from chatgrid.console.model_names import doubts_about
from chatgrid.console.precedence import in_words
from chatgrid.console.recording import Values, record_act
from chatgrid.console.scope import may_change, viewer_of, visible
from chatgrid.console.wanted.changes import Change, ChangedMeanwhile, Refused, apply_changes, digest
from chatgrid.console.wanted.limits import COLUMNS, NONE, Context, plan_limits, read_csv, rows_of, write_csv
from departments.limits.forecast import forecast
from departments.limits.models import CEILINGS, PERSON_CEILINGS, Limit
from departments.models import Organization

LARGEST = 512 * 1024
MOST_SHOWN = 200
MOST_FORECASTS = 5
KEEP, SET, LIFT = "keep", "set", "lift"


class FileForm(forms.Form):
    """A CSV as a file, or its text."""

    file = forms.FileField(label="CSV file")

    def text(self) -> str:
        """Its text. Raises Refused."""
        file = self.cleaned_data["file"]
        if file.size > LARGEST:
            raise Refused([f"The file is larger than {LARGEST // 1024} KB."])
        content = file.read()
        try:
            # Excel's "Unicode text" says so in its first two bytes
            return str(content.decode("utf-16" if content[:2] in {b"\xff\xfe", b"\xfe\xff"} else "utf-8-sig"))
        except UnicodeDecodeError:
            raise Refused(["The file is not UTF-8. Save it as “CSV UTF-8”."]) from None


class BulkForm(forms.Form):
    """What to do with each ceiling of the chosen limits."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"label_suffix": "", **kwargs})
        for name in (*CEILINGS, *PERSON_CEILINGS):
            whole = Limit._meta.get_field(name).get_internal_type() != "DecimalField"
            field = forms.DecimalField(
                required=False, min_value=0, decimal_places=0 if whole else 4, label=in_words(name)
            )
            self.fields[name] = field
            self.fields[f"lift_{name}"] = forms.BooleanField(required=False, label=f"Lift: {in_words(name)}")

    def pairs(self) -> list[tuple[Any, Any]]:
        """For the page: each ceiling beside the box that lifts it."""
        return [(self[name], self[f"lift_{name}"]) for name in (*CEILINGS, *PERSON_CEILINGS)]

    def changes(self) -> dict[str, Any]:
        """Ceiling -> its new value, None to lift it. What stays is not in it."""
        values = self.cleaned_data
        wanted = {name: values[name] for name in (*CEILINGS, *PERSON_CEILINGS) if values[name] is not None}
        return wanted | {name: None for name in (*CEILINGS, *PERSON_CEILINGS) if values[f"lift_{name}"]}


@dataclass(frozen=True)
class Told:
    """A change of a limit as the plan's page shows it."""

    place: str
    kind: str
    lines: list[str]

    @classmethod
    def of(cls, change: Change) -> Told:
        """Its ceilings; that it is new, and for what, stands beside them."""
        differing = [each for each in change.differing if each[0] in (*CEILINGS, *PERSON_CEILINGS)]
        lines = [f"{in_words(name)}: {_figure(before)} → {_figure(after)}" for name, before, after in differing]
        return cls(change.place, change.kind, lines)


def _figure(value: int | str | None) -> str:
    if value is None:
        return "none"
    return f"{value:,}" if isinstance(value, int) else value


def download(request: HttpRequest, limits: QuerySet[Limit]) -> HttpResponse:
    response = HttpResponse(write_csv(limits), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="limits-{timezone.now():%Y-%m-%d}.csv"'
    return response


def import_page(request: HttpRequest) -> HttpResponse:
    """The form for a file, and the plan that a file makes."""
    organization = _organization(request)
    form = FileForm(request.POST or None, request.FILES or None, label_suffix="")
    if request.method == "POST" and form.is_valid():
        try:
            return plan_page(request, organization, form.text())
        except Refused as refused:
            return _form_page(request, form, refused.problems)
    return _form_page(request, form, [])


def bulk_page(request: HttpRequest, limits: QuerySet[Limit]) -> HttpResponse:
    """What to change of the chosen limits, then the plan. Comes as an action of the list."""
    organization = _organization(request)
    form = BulkForm(request.POST if "planning" in request.POST else None)
    if form.is_bound and form.is_valid():
        wanted = form.changes()
        text = _as_csv([{**row, **wanted} for row in rows_of(limits)])
        try:
            return plan_page(request, organization, text)
        except Refused as refused:
            # there are no rows for whoever has chosen limits from a list
            form.add_error(None, " ".join(re.sub(r"^row \d+[,:] ", "", each) for each in refused.problems))
    shown = {
        **_frame(request, "Change limits"),
        "form": form,
        "chosen": list(limits[:MOST_SHOWN]),
        "number": limits.count(),
        "selected": request.POST.getlist("_selected_action"),
        "select_across": request.POST.get("select_across", "0"),
    }
    return TemplateResponse(request, "console/limits_bulk.html", shown)


@confirmed("Change many limits at once.")
def apply_page(request: HttpRequest) -> HttpResponse:
    """Do the plan that was shown, or show the one that it has become."""
    if request.method != "POST":
        return redirect("admin:limits_limit_import")
    organization, text = _organization(request), request.POST.get("csv", "")
    try:
        changes = _planned(request, organization, text)
        if digest(changes) != request.POST.get("digest"):
            raise ChangedMeanwhile("A limit was changed meanwhile. This is the plan as it is now.")
        apply_changes(changes, _recorder(request))
    except Refused as refused:
        return _form_page(request, FileForm(label_suffix=""), refused.problems)
    except ChangedMeanwhile as changed:
        messages.warning(request, str(changed))
        return plan_page(request, organization, text)
    messages.success(request, _done(len(changes)))
    return redirect("admin:limits_limit_changelist")


def _done(number: int) -> str:
    if number == 1:
        return "1 limit changed. It counts from the next question on."
    return f"{number} limits changed. They count from the next question on."


def plan_page(request: HttpRequest, organization: Organization, text: str) -> HttpResponse:
    """What would change, with what some of it would have refused last week. Raises Refused."""
    changes = _planned(request, organization, text)
    shown = {
        **_frame(request, "What would change"),
        "changes": [Told.of(change) for change in changes[:MOST_SHOWN]],
        "number": len(changes),
        "doubts": doubts_about(changes, organization),
        "forecasts": _forecasts(changes),
        "csv": text,
        "digest": digest(changes),
    }
    return TemplateResponse(request, "console/limits_plan.html", shown)


def _planned(request: HttpRequest, organization: Organization, text: str) -> list[Change]:
    return plan_limits(Context(organization, reason_of(request) or "many at once"), read_csv(text))


def _forecasts(changes: Sequence[Change]) -> list[tuple[str, Any]]:
    """For the first few that set something: reading a week of calls takes its time."""
    set_ones = [change for change in changes if change.after is not None][:MOST_FORECASTS]
    return [(change.place, forecast(change.subject)) for change in set_ones if isinstance(change.subject, Limit)]


def _recorder(request: HttpRequest) -> Any:
    def recorded(subject: Model, action: str, before: Values, after: Values) -> None:
        record_act(request, subject, action, before, after)

    return recorded


def _organization(request: HttpRequest) -> Organization:
    viewer = viewer_of(request)
    if not may_change(viewer) or viewer.organization is None:
        raise PermissionDenied  # an operator uses `manage.py company`
    return visible(Organization.objects.all(), viewer).get()


def _frame(request: HttpRequest, title: str) -> dict[str, Any]:
    from chatgrid.console.site import site  # the site's pages lead here

    return {**site.each_context(request), "title": title, "opts": Limit._meta}


def _form_page(request: HttpRequest, form: FileForm, problems: Sequence[str]) -> HttpResponse:
    shown = {**_frame(request, "Limits from a CSV"), "form": form, "problems": problems, "columns": COLUMNS}
    return TemplateResponse(request, "console/limits_import.html", shown, status=400 if problems else 200)


def _as_csv(rows: Sequence[dict[str, Any]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, restval="")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return out.getvalue()


def _cell(value: Any) -> Any:
    """None lifts a ceiling; written as a word, so that a row of nothing but lifted ones is no empty row."""
    if value is None:
        return NONE
    return f"{value:f}" if isinstance(value, Decimal) else value
