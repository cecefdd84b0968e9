"""Departments: made with a store of their own, in which nobody else's documents can be."""

from __future__ import annotations

from functools import partial
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path, reverse
from django.utils.html import format_html
from django.views.decorators.http import require_POST

from chatgrid.console.admin.base import ConsoleAdmin, ConsoleForm, ConsoleInline
from chatgrid.console.admin.projects import provision
from chatgrid.console.asking import ask
from chatgrid.console.recording import record_act
from chatgrid.console.scope import may_change, viewer_of
from chatgrid.console.site import site
from departments.calls.models import CatalogueModel
from departments.models import Department, Membership, QueryPolicy
from departments.tasks import make_pepper

MOST_MEMBERS_ON_PAGE = 50
CAREFUL = ("typed_secrets", "document_review", "moderation")


POLICIES = [
    (QueryPolicy.FULL, "The whole text. An auditor can read it with a reason, and that is an event."),
    (
        QueryPolicy.REDACTED,
        "The text without e-mail addresses, phone, account and card numbers. An auditor can read what is left.",
    ),
    (
        QueryPolicy.HASHED,
        "A keyed hash. Nobody can ever read the text; an auditor finds a question that they know word for word.",
    ),
]
PEPPER = "The key for the hashes of {} is made in the background. Until it is there, in seconds, nobody gets an answer."


class DepartmentForm(ConsoleForm):
    """Provider and model are chosen from what settings and the catalogue know."""

    query_policy = forms.ChoiceField(
        label="Of a question it keeps",
        choices=POLICIES,
        initial=QueryPolicy.FULL,
        widget=forms.RadioSelect,
        required=False,
        help_text="From the next question on. What was kept before stays until its time is over.",
    )

    provider = forms.ChoiceField(help_text="Where the questions of this department are answered.")
    model = forms.ChoiceField(help_text="The model that answers, from the list of models.")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._offer("provider", list(settings.PROVIDERS), self.instance.provider)
        chat = CatalogueModel.objects.filter(kind=CatalogueModel.Kind.CHAT).order_by("name")
        self._offer("model", list(chat.values_list("name", flat=True)), self.instance.model)
        for name in CAREFUL:
            if name in self.fields:
                self.fields[name].required = False  # left out, it stays as it is

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        kept = {name: getattr(self.instance, name) for name in CAREFUL if name in cleaned and not cleaned[name]}
        return cleaned | kept

    def clean_query_policy(self) -> str:
        """A form without it leaves it as it is."""
        return str(self.cleaned_data["query_policy"] or self.instance.query_policy)

    def _offer(self, name: str, choices: list[str], present: str) -> None:
        if name not in self.fields:  # a page that is only looked at has no fields
            return
        offered = choices if present in choices else [present, *choices]
        self.fields[name].choices = [(choice, choice) for choice in offered]  # type: ignore[attr-defined]


class MemberInline(ConsoleInline):
    model = Membership
    fields = ("user", "role")
    autocomplete_fields = ("user",)
    verbose_name = "member"
    verbose_name_plural = "members"

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may_change(request.user)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("user", "department")


class StoreFilter(admin.SimpleListFilter):
    title = "store"
    parameter_name = "store"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("ready", "Ready"), ("missing", "Missing")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Department]) -> QuerySet[Department]:
        chosen = {"ready": True, "missing": False}.get(self.value() or "")
        return queryset if chosen is None else queryset.filter(store_ready=chosen)


@admin.register(Department, site=site)
class DepartmentAdmin(ConsoleAdmin):
    form = DepartmentForm
    ordering = ("name",)
    list_display = ("name", "slug", "is_active", "store", "key_state", "member_count", "model")
    list_filter = ("is_active", StoreFilter)
    search_fields = ("name", "slug")
    actions = ("provision_again",)
    change_form_template = "admin/departments/department/change_form.html"
    inlines = (MemberInline,)
    fieldsets = (
        (None, {"fields": ("name", "slug", "is_active", "instructions", "off_limits", "rules_public")}),
        ("How careful it is", {"fields": CAREFUL}),
        ("Who answers", {"fields": ("provider", "model")}),
        ("What the record keeps", {"fields": ("query_policy",)}),
        ("Room for documents", {"fields": ("files_allowed", "bytes_allowed")}),
    )

    def get_fieldsets(self, request: HttpRequest, obj: Department | None = None) -> Any:
        sets = super().get_fieldsets(request, obj)
        if obj:
            return (*sets, ("What it owns", {"fields": ("store", "key_state", "member_count")}))
        return ((None, {"fields": ("organization",)}), *sets) if viewer_of(request).is_superuser else sets

    def get_readonly_fields(self, request: HttpRequest, obj: Department | None = None) -> tuple[str, ...]:
        # the key lies in the secret manager under the slug: another slug would lose it
        return ("slug", "store", "key_state", "member_count") if obj else ()

    def get_queryset(self, request: HttpRequest) -> QuerySet[Department]:
        rows = super().get_queryset(request).select_related("organization", "key")
        counted: QuerySet[Department] = rows.annotate(members_counted=Count("memberships"))
        return counted

    def get_inlines(self, request: HttpRequest, obj: Department | None) -> Any:
        # a department of hundreds is a list of its own, with pages and a search
        few = obj is not None and obj.memberships.count() <= MOST_MEMBERS_ON_PAGE
        return (MemberInline,) if few else ()

    @admin.display(description="store", ordering="store_ready")
    def store(self, department: Department) -> str:
        return "Ready" if department.store_ready else f"Missing. {department.store_failure}".strip()

    @admin.display(description="key", ordering="key__state")
    def key_state(self, department: Department) -> str:
        key = getattr(department, "key", None)
        return key.get_state_display() if key else "None"

    @admin.display(description="members", ordering="members_counted")
    def member_count(self, department: Department) -> str:
        address = f"{reverse('admin:departments_membership_changelist')}?department={department.pk}"
        return format_html('<a href="{}">{}</a>', address, department.members_counted)  # type: ignore[attr-defined]

    def save_model(self, request: HttpRequest, obj: Department, form: Any, change: bool) -> None:
        becomes_hashed = change and "query_policy" in form.changed_data and obj.query_policy == QueryPolicy.HASHED
        super().save_model(request, obj, form, change)
        if becomes_hashed:
            transaction.on_commit(partial(ask, request, make_pepper, str(obj.pk), said=PEPPER.format(obj)))
        if not change:
            transaction.on_commit(partial(provision, request, obj))
        elif "provider" in form.changed_data:
            messages.warning(request, f"{obj} is answered by {obj.provider} now: paste a key of that provider.")

    @admin.action(description="Set up the store again", permissions=["change"])
    def provision_again(self, request: HttpRequest, queryset: QuerySet[Department]) -> None:
        for department in queryset:
            record_act(request, department, "store set up again")
            provision(request, department)

    def get_urls(self) -> list[Any]:
        view = require_POST(self.admin_site.admin_view(self.provision_view))
        return [path("<path:object_id>/provision/", view, name="departments_department_provision"), *super().get_urls()]

    def provision_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The button on a department's page."""
        department = self.get_object(request, unquote(object_id))
        if not self.has_change_permission(request, department):
            raise PermissionDenied
        self.provision_again(request, self.get_queryset(request).filter(pk=department.pk))
        return redirect("admin:departments_department_change", department.pk)
