"""Limits: one row for the company, a department or a person; every change needs a reason and is effective at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from chatgrid.console.admin.base import ConsoleAdmin, ConsoleForm, DepartmentFilter
from chatgrid.console.fresh import LONGEST_REASON, reason_of, require_confirmation
from chatgrid.console.limit_pages import apply_page, bulk_page, download, import_page
from chatgrid.console.model_names import doubts, models_in_use
from chatgrid.console.precedence import WORDS, amount
from chatgrid.console.recording import record_act, stored
from chatgrid.console.scope import may_change, viewer_of
from chatgrid.console.site import site
from departments.limits.forecast import Forecast, forecast
from departments.limits.models import CEILINGS, PERSON_CEILINGS, Limit

PRECEDENCE = (
    "A person’s own limit wins over the department’s default, and that one over the company’s; with a person and a "
    "department it is for that person there. A model’s limit is a number of requests a minute and nothing else. "
    "A ceiling above always holds: the department’s for everybody in it together, the company’s for all departments "
    "together. An empty field sets nothing. A change counts from the next question on."
)


class LimitForm(ConsoleForm):
    """The reason is asked anew each time: the last one says nothing about this change."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.forecast: Forecast | None = None
        if "reason" in self.fields:
            self.initial["reason"] = ""
            self.fields["reason"].required = not self.only_asks  # nothing is saved
        if "model" in self.fields and self.organization is not None and (used := models_in_use(self.organization)):
            # help is markup to Django's own template, and a department's model is whatever was written there
            self.fields["model"].help_text = format_html("Empty: every model. Departments ask {}.", ", ".join(used))

    @property
    def only_asks(self) -> bool:
        """The person wants to know what the limit would have done, not to save it."""
        return "_forecast" in self.data

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]
        if self.only_asks and not self.errors:
            self.forecast = forecast(self.instance)
            self.add_error(None, "Nothing is saved yet.")


class ScopeFilter(admin.SimpleListFilter):
    title = "what it is for"
    parameter_name = "for"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("company", "The company"), ("department", "Departments"), ("person", "People")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Limit]) -> QuerySet[Limit]:
        if self.value() == "company":
            return queryset.filter(department=None, person=None)
        if self.value() in {"department", "person"}:
            return queryset.exclude(**{f"{self.value()}": None})
        return queryset


@admin.register(Limit, site=site)
class LimitAdmin(ConsoleAdmin):
    empty = "No limit is set: nothing stops anybody."
    form = LimitForm
    list_display = ("scope", "together", "each", "reason", "changed")
    list_filter = (ScopeFilter, DepartmentFilter)
    list_select_related = ("organization", "department", "person")
    search_fields = ("department__name", "person__name", "person__email", "reason")
    search_help_text = "Department, person or reason"
    autocomplete_fields = ("person",)
    actions = ("change_chosen", "download_chosen")
    change_list_template = "admin/limits/limit/change_list.html"
    change_form_template = "admin/limits/limit/change_form.html"
    delete_confirmation_template = "admin/limits/limit/delete_confirmation.html"

    def get_fieldsets(self, request: HttpRequest, obj: Limit | None = None) -> Any:
        organization = ("organization",) if obj is None and viewer_of(request).is_superuser else ()
        scope = {"fields": (*organization, "department", "person", "model"), "description": PRECEDENCE}
        return (
            ("What it is for", scope),
            ("Ceiling for all of it together", {"fields": CEILINGS}),
            ("Default for each person in it", {"fields": PERSON_CEILINGS}),
            ("Why", {"fields": ("reason",)}),
        )

    def get_readonly_fields(self, request: HttpRequest, obj: Limit | None = None) -> tuple[str, ...]:
        # a limit for something else is another limit
        return ("department", "person", "model") if obj else ()

    def render_change_form(
        self,
        request: HttpRequest,
        context: Any,
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: Any = None,
    ) -> Any:
        form = context["adminform"].form
        if getattr(form, "forecast", None) is not None:
            form.errors.clear()
            context |= {"forecast": form.forecast, "errors": None}
        return super().render_change_form(request, context, add, change, form_url, obj)

    @admin.action(description="Change …", permissions=["change"])
    def change_chosen(self, request: HttpRequest, queryset: QuerySet[Limit]) -> HttpResponse:
        return bulk_page(request, queryset)

    @admin.action(description="Download as CSV")
    def download_chosen(self, request: HttpRequest, queryset: QuerySet[Limit]) -> HttpResponse:
        return download(request, queryset)

    def get_urls(self) -> list[Any]:
        wrap = self.admin_site.admin_view
        return [
            path("csv/", wrap(self.csv_view), name="limits_limit_csv"),
            path("import/", wrap(import_page), name="limits_limit_import"),
            path("import/apply/", wrap(apply_page), name="limits_limit_apply"),
            *super().get_urls(),
        ]

    def csv_view(self, request: HttpRequest) -> HttpResponse:
        """All limits that the viewer may see."""
        return download(request, self.get_queryset(request))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may_change(request.user)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        # each removal has its own reason
        return {name: act for name, act in super().get_actions(request).items() if name != "delete_selected"}

    def get_field_queryset(self, db: Any, db_field: Any, request: HttpRequest) -> Any:
        return super().get_field_queryset(db, db_field, request).order_by("name")

    @admin.display(description="what it is for")
    def scope(self, limit: Limit) -> str:
        if limit.model:
            return f"Model {limit.model} in {limit.department or 'the company'}"
        if limit.person:
            where = f" in {limit.department}" if limit.department else ""
            return f"Person: {limit.person}{where}"
        return f"Department: {limit.department}" if limit.department else f"The company: {limit.organization}"

    @admin.display(description="together")
    def together(self, limit: Limit) -> str:
        return _ceilings(limit, CEILINGS)

    @admin.display(description="each person")
    def each(self, limit: Limit) -> str:
        return _ceilings(limit, PERSON_CEILINGS)

    @admin.display(description="changed (UTC)", ordering="changed_at")
    def changed(self, limit: Limit) -> str:
        return f"{limit.changed_at:%Y-%m-%d}"

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        limit = self.get_object(request, unquote(object_id))
        if not self.has_delete_permission(request, limit):
            raise PermissionDenied
        if request.method == "POST" and not reason_of(request):
            messages.error(request, "Write why, then delete again. Nothing was deleted.")
            return redirect(request.path)
        return super().delete_view(request, object_id, {"longest_reason": LONGEST_REASON})

    def save_model(self, request: HttpRequest, obj: Limit, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        for doubt in doubts([obj], obj.organization):
            messages.warning(request, doubt)

    def delete_model(self, request: HttpRequest, obj: Limit) -> None:
        require_confirmation(request, f"Remove the limit of {obj}.")
        record_act(request, obj, "deleted", before=stored(obj))
        obj.delete()


def _ceilings(limit: Limit, names: Sequence[str]) -> SafeString | str:
    """What is set, a line for each."""
    known = ((amount(getattr(limit, name)), WORDS[name.removeprefix("person_")]) for name in names)
    lines = [(f"{value} {words}",) for value, words in known if value]
    return format_html_join("", "<div>{}</div>", lines) or "-"
