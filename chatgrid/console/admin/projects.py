"""Projects at OpenAI and what differs there: bounds to set, a plan to read, buttons, findings to repair.

Rules:
- A page never speaks to OpenAI: the admin key is the rotator's alone. A button leaves a task, and the page shows what
  the rotator has written since.
- "Apply this plan" does what is on the page or nothing: a newer plan, or a change at OpenAI meanwhile, stops it.
- Rows are made by the rotator, one for each department; nobody adds or deletes one here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.core.validators import EmailValidator
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path
from django.utils.html import format_html_join
from django.views.decorators.http import require_POST

from audit.events import Event
from audit.models import AuditEvent
from chatgrid.console.admin.admin_keys import missing_sentence
from chatgrid.console.admin.base import ConsoleAdmin, ConsoleForm, DepartmentFilter
from chatgrid.console.asking import ask
from chatgrid.console.fresh import require_confirmation
from chatgrid.console.recording import record_act
from chatgrid.console.scope import viewer_of
from chatgrid.console.site import site
from departments import tasks as department_tasks
from departments.keys import tasks as key_tasks
from departments.keys import usage_findings
from departments.keys.admin_api import AdminKeyMissing, has_admin_api_for, has_admin_key
from departments.keys.models import Finding, ProviderProject
from departments.keys.project_plan import Change, NoAdminApi
from departments.keys.rotation import By
from departments.models import Department

BEING_MADE = "{} is being completed in the background. Reload this page in a few seconds."
BOUNDS = (
    "allowed_models",
    "monthly_cents",
    "alert_percents",
    "alert_recipients",
    "requests_per_minute",
    "tokens_per_minute",
    "retention",
    "key_days",
    "key_scopes",
)


PROJECT_ID = re.compile(r"proj_[A-Za-z0-9_-]{3,60}")


class WordsField(forms.CharField):
    """A JSON list as words with commas between; `convert` makes each word a value or raises ValidationError."""

    def __init__(self, convert: Callable[[str], Any] = str, **options: Any) -> None:
        super().__init__(required=False, **options)
        self.convert = convert

    def prepare_value(self, value: Any) -> Any:
        return ", ".join(map(str, value)) if isinstance(value, list) else value

    def clean(self, value: Any) -> list[Any]:
        text = super().clean(value) or ""
        return [self.convert(word.strip()) for word in text.split(",") if word.strip()]

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool(super().has_changed(self.prepare_value(initial or []), data))


def percent(word: str) -> int:
    if not word.isdigit() or not 1 <= int(word) <= 100:
        raise forms.ValidationError(f"{word} is no share of the limit: write whole numbers from 1 to 100.")
    return int(word)


def address(word: str) -> str:
    EmailValidator(f"{word} is no e-mail address.")(word)
    return word


class ProjectForm(ConsoleForm):
    """Money in US cents, as OpenAI counts it."""

    allowed_models = WordsField(help_text="Beside the department's model and that of the embeddings.")
    alert_percents = WordsField(percent, help_text="Mails at these shares of the limit, such as 50, 80, 100.")
    alert_recipients = WordsField(address, help_text="E-mail addresses.")
    key_scopes = WordsField(help_text="Empty: all that the project may do.")


@admin.register(ProviderProject, site=site)
class ProviderProjectAdmin(ConsoleAdmin):
    form = ProjectForm
    list_display = ("department", "state", "project_id", "limit_a_month", "findings_open", "checked_at")
    list_filter = ("state", DepartmentFilter)
    list_select_related = ("department",)
    search_fields = ("department__name", "name", "project_id")
    ordering = ("department__name",)
    change_form_template = "admin/keys/providerproject/change_form.html"
    change_list_template = "admin/keys/providerproject/change_list.html"
    fieldsets = (
        (
            "At OpenAI",
            {"fields": ("department", "name", "project_id", "service_account_id", "state", "step", "failure")},
        ),
        ("What would be done", {"fields": ("planned", "plan_sentence", "planned_at", "checked_at")}),
        ("Bounds", {"fields": BOUNDS}),
    )
    readonly_fields = (
        "department",
        "name",
        "project_id",
        "service_account_id",
        "state",
        "step",
        "failure",
        "planned",
        "plan_sentence",
        "planned_at",
        "checked_at",
    )

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[ProviderProject]:
        open_ones = Count("department__findings", filter=Q(department__findings__closed_at=None))
        counted: QuerySet[ProviderProject] = super().get_queryset(request).annotate(findings_counted=open_ones)
        return counted

    @admin.display(description="limit a month", ordering="monthly_cents")
    def limit_a_month(self, row: ProviderProject) -> str:
        return "None" if row.monthly_cents is None else f"${row.monthly_cents / 100:,.2f}"

    @admin.display(description="findings")
    def findings_open(self, row: ProviderProject) -> int:
        return int(row.findings_counted)  # type: ignore[attr-defined]

    @admin.display(description="plan")
    def planned(self, row: ProviderProject) -> str:
        lines = [(Change(**change).line(),) for change in row.plan]
        return format_html_join("", "<p>{}</p>", lines) if lines else "Nothing, or no plan was made yet"

    def get_urls(self) -> list[Any]:
        return [
            path("<path:object_id>/plan/", self._button(self.plan_view), name="keys_providerproject_plan"),
            path("<path:object_id>/apply/", self._button(self.apply_view), name="keys_providerproject_apply"),
            path("<path:object_id>/adopt/", self._button(self.adopt_view), name="keys_providerproject_adopt"),
            path("<path:object_id>/archive/", self._button(self.archive_view), name="keys_providerproject_archive"),
            *super().get_urls(),
        ]

    def _button(self, view: Callable[..., HttpResponse]) -> Any:
        return require_POST(self.admin_site.admin_view(view))

    def plan_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row = self._changeable(request, object_id)
        ask(request, department_tasks.plan_department, str(row.department_id))
        return redirect("admin:keys_providerproject_change", row.pk)

    def apply_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Only with the moment of the plan that the page showed."""
        row = self._changeable(request, object_id)
        planned_at = request.POST.get("planned_at", "")
        if row.planned_at is None or planned_at != row.planned_at.isoformat():
            messages.error(request, "There is a newer plan than the one you saw. Read it, then apply it.")
            return redirect("admin:keys_providerproject_change", row.pk)
        require_confirmation(request, f"Apply the plan you saw to the project of {row.department} at OpenAI.")
        if ask(request, department_tasks.provision, str(row.department_id), *acting(request), planned_at):
            record_act(request, row, "plan applied", planned_at=planned_at)
        return redirect("admin:keys_providerproject_change", row.pk)

    def adopt_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Take over a project that is there already; the plan then says what would be changed in it."""
        row, project = self._changeable(request, object_id), request.POST.get("project", "").strip()
        if not PROJECT_ID.fullmatch(project):
            messages.error(request, "Write the project’s id at OpenAI. It begins with proj_.")
        else:
            act = f"Take over the project {project} at OpenAI for {row.department}."
            require_confirmation(request, act)
            if ask(request, key_tasks.adopt_project, str(row.department_id), project, *acting(request)):
                record_act(request, row, "adoption asked for", project=project)
        return redirect("admin:keys_providerproject_change", row.pk)

    def archive_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Close the project for ever."""
        row = self._changeable(request, object_id)
        require_confirmation(request, f"Close the project of {row.department} at OpenAI for ever and delete its keys.")
        if ask(request, key_tasks.archive_project, str(row.department_id), *acting(request)):
            record_act(request, row, "archiving asked for")
        return redirect("admin:keys_providerproject_change", row.pk)

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        return super().changelist_view(request, missing_sentence(request))

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> Any:
        row: ProviderProject = self.get_object(request, unquote(object_id or ""))
        shown = {**missing_sentence(request), "receipt": _receipt(row)}
        return super().changeform_view(request, object_id, form_url, {**shown, **(extra_context or {})})

    def _changeable(self, request: HttpRequest, object_id: str) -> ProviderProject:
        row: ProviderProject = self.get_object(request, unquote(object_id))
        if not self.has_change_permission(request, row):
            raise PermissionDenied
        return row


def _receipt(row: ProviderProject) -> AuditEvent | None:
    """The record's entry of how the department's last project was closed."""
    if row.state != ProviderProject.State.ARCHIVED:
        return None
    events = AuditEvent.objects.filter(event=Event.PROJECT_ARCHIVED, department_id=row.department_id)
    return events.order_by("-at").first()


class OpenFilter(admin.SimpleListFilter):
    title = "finding"
    parameter_name = "open"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "Open"), ("no", "Closed")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Finding]) -> QuerySet[Finding]:
        chosen = {"yes": True, "no": False}.get(self.value() or "")
        return queryset if chosen is None else queryset.filter(closed_at__isnull=chosen)


@admin.register(Finding, site=site)
class FindingAdmin(ConsoleAdmin):
    empty = "Nothing at OpenAI differs from what is wanted."
    list_display = ("department", "sentence", "opened_at", "seen_at", "closed_how")
    list_display_links = ("department", "sentence")
    list_filter = (OpenFilter, "kind", DepartmentFilter)
    list_select_related = ("department",)
    search_fields = ("department__name", "sentence")
    ordering = ("-opened_at",)
    actions = ("repair",)
    change_form_template = "admin/keys/finding/change_form.html"
    fields = (
        "department",
        "kind",
        "sentence",
        "evidence",
        "problem",
        "opened_at",
        "seen_at",
        "closed_at",
        "closed_how",
    )
    readonly_fields = (*fields, "seen_where")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_fields(self, request: HttpRequest, obj: Finding | None = None) -> tuple[str, ...]:
        """Of usage, the places in words; of other findings what was wanted and found, as it is."""
        instead = {"evidence": "seen_where"} if obj and usage_findings.is_of_usage(obj) else {}
        return tuple(instead.get(name, name) for name in self.fields)

    @admin.display(description="where")
    def seen_where(self, finding: Finding) -> str:
        return format_html_join("", "<p>{}</p>", ((line,) for line in usage_findings.places_in_words(finding)))

    @admin.action(description="Repair", permissions=["change"])
    def repair(self, request: HttpRequest, queryset: QuerySet[Finding]) -> None:
        for finding in queryset.filter(closed_at=None).select_related("department__organization"):
            if finding.kind == Finding.Kind.LEAKED_KEY:
                rotate(request, finding)
            elif ask(request, key_tasks.repair_finding, str(finding.pk), *acting(request)):
                record_act(request, finding, "repair asked for")

    def get_urls(self) -> list[Any]:
        view = require_POST(self.admin_site.admin_view(self.repair_view))
        return [path("<path:object_id>/repair/", view, name="keys_finding_repair"), *super().get_urls()]

    def repair_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The button on a finding's page."""
        finding: Finding = self.get_object(request, unquote(object_id))
        if not self.has_change_permission(request, finding):
            raise PermissionDenied
        self.repair(request, self.get_queryset(request).filter(pk=finding.pk))
        return redirect("admin:keys_finding_change", finding.pk)


def rotate(request: HttpRequest, finding: Finding) -> None:
    """One click, because every minute counts: the finding is the reason, and the old key is deleted without a wait."""
    viewer = viewer_of(request)
    usage_findings.rotate(finding, By(viewer.pk, str(viewer)))
    record_act(request, finding, "emergency rotation", reason=finding.sentence)
    messages.success(request, f"The key of {finding.department} is being exchanged now; see Rotations.")


def provision(request: HttpRequest, department: Department) -> None:
    """Ask the rotator for the department's store, project and key, and say what it cannot make.

    The web may read secrets and write none, so it makes nothing itself. Repeating is safe.
    """
    if not has_admin_api_for(department):
        messages.info(request, NoAdminApi(department.name).sentence)
    elif not has_admin_key(department.organization):
        messages.info(request, AdminKeyMissing(department.organization.name).sentence)
    ask(request, department_tasks.provision, str(department.pk), *acting(request), said=BEING_MADE.format(department))


def acting(request: HttpRequest) -> tuple[str, str]:
    """Who asks, as a task takes it: id and name."""
    viewer = viewer_of(request)
    return str(viewer.pk), str(viewer)
