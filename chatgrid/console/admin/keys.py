"""Keys: where each department's key stands, and the form into which a new one is pasted.

Rules:
- The form only writes. What was pasted is in no page, error, message, log or event; a fingerprint tells keys apart.
- The browser is told neither to keep nor to spell-check the field, and its text is not shown while it is typed.
- The key goes to the secret manager; this database keeps its name, version and fingerprint.
"""

from __future__ import annotations

import logging
from typing import Any
from uuid import uuid4

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import path
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.timesince import timesince
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables

from chatgrid.console.admin.base import ConsoleAdmin, DepartmentFilter
from chatgrid.console.fresh import LONGEST_REASON, confirmed
from chatgrid.console.recording import record_act, snapshot
from chatgrid.console.scope import may_change, viewer_of, visible
from chatgrid.console.site import site
from departments.keys.client import provider_named
from departments.keys.models import KeyReference
from departments.keys.patterns import KeyRefused, validate_pasted_key
from departments.keys.reader import store_provider_key
from departments.keys.secret import Secret
from departments.keys.vaults import VaultError
from departments.models import Department

WITHOUT_A_KEY = 20

logger = logging.getLogger(__name__)


class WriteOnlyInput(forms.PasswordInput):
    """Never shows its value. Not of type password: browsers offer to keep those."""

    input_type = "text"

    def __init__(self) -> None:
        quiet = {
            "autocomplete": "off",
            "autocapitalize": "off",
            "autocorrect": "off",
            "spellcheck": "false",
            "data-1p-ignore": "",
            "data-lpignore": "true",
            "class": "masked",
        }
        super().__init__(attrs=quiet, render_value=False)


class PasteKeyForm(forms.Form):
    """A department and the key it shall use from now on. Raises nothing that holds the key."""

    department = forms.ModelChoiceField(queryset=Department.objects.none())
    key = forms.CharField(
        widget=WriteOnlyInput,
        strip=False,
        required=False,  # an empty field gets its sentence from the same place as a wrong one
        help_text="A project key of this department alone. It goes to the secret manager and is never shown again.",
    )

    reason = forms.CharField(max_length=LONGEST_REASON, help_text="Why the key is exchanged; kept in the record.")

    def __init__(self, departments: QuerySet[Department], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["department"].queryset = departments  # type: ignore[attr-defined]

    @sensitive_variables()
    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        pasted = values.pop("key", "")
        if "department" in values:
            try:
                values["secret"] = validate_pasted_key(pasted, provider_named(values["department"].provider).kind)
            except KeyRefused as refused:
                self.add_error("key", str(refused))
        return values


@admin.register(KeyReference, site=site)
class KeyReferenceAdmin(ConsoleAdmin):
    list_display = ("department", "state", "fingerprint", "age", "changed_at")
    list_filter = ("state", DepartmentFilter)
    list_select_related = ("department",)
    search_fields = ("department__name", "fingerprint")
    search_help_text = "Department or fingerprint"
    ordering = ("department__name",)
    fields = ("department", "state", "secret_name", "version", "fingerprint", "age", "created_at", "changed_at")
    readonly_fields = fields
    change_list_template = "admin/keys/keyreference/change_list.html"

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # pasting makes the row

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @admin.display(description="age", ordering="changed_at")
    def age(self, key: KeyReference) -> str:
        return timesince(key.changed_at, timezone.now(), depth=1)

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        without = list(_departments(request).filter(key=None)[: WITHOUT_A_KEY + 1])
        named = {"without_key": without[:WITHOUT_A_KEY], "more_without_key": len(without) > WITHOUT_A_KEY}
        return super().changelist_view(request, named)

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view(self.paste_view)
        return [path("paste/", view, name="keys_keyreference_paste"), *super().get_urls()]

    @method_decorator(sensitive_post_parameters("key"))
    @confirmed("Exchange a department’s key.", secret=["key"])
    def paste_view(self, request: HttpRequest) -> HttpResponse:
        """The form for a new key, and what it does."""
        if not may_change(request.user):
            raise PermissionDenied
        departments = _departments(request)
        form = PasteKeyForm(departments, request.POST or None, initial={"department": request.GET.get("department")})
        if form.is_valid() and _keep(request, form):
            return redirect("admin:keys_keyreference_changelist")
        context = {
            **self.admin_site.each_context(request),
            "title": "Paste a key",
            "opts": self.opts,
            "form": form,
        }
        return TemplateResponse(request, "admin/keys/keyreference/paste.html", context)


def _departments(request: HttpRequest) -> QuerySet[Department]:
    rows = Department.objects.filter(is_active=True).select_related("organization").order_by("name")
    return visible(rows, viewer_of(request))


@sensitive_variables()
def _keep(request: HttpRequest, form: PasteKeyForm) -> bool:
    """Put the key away and record it; where the secret manager refuses, say so beside the field."""
    department: Department = form.cleaned_data["department"]
    try:
        _store(request, department, form.cleaned_data["secret"])
    except VaultError as error:
        logger.error("key of department %s not stored: %s", department.pk, type(error).__name__)
        form.add_error(None, "The secret manager did not take the key. Nothing was changed; try again in a minute.")
        return False
    messages.success(request, f"{department} uses the new key from its next question on.")
    return True


@sensitive_variables()
def _store(request: HttpRequest, department: Department, secret: Secret) -> None:
    with transaction.atomic():
        known = KeyReference.objects.select_for_update().filter(department=department).first()
        before = snapshot(known) if known else {}
        reference = store_provider_key(department, secret, str(uuid4()))
        record_act(request, reference, "key pasted", before, snapshot(reference))
