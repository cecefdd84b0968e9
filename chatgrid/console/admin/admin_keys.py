"""The organization's admin key at OpenAI: where it lies, how old it is, what is under way; pasted here, never shown."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import path
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.timesince import timesince
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_POST

from chatgrid.console.admin.base import ConsoleAdmin
from chatgrid.console.exchanging import exchange
from chatgrid.console.fresh import LONGEST_REASON, confirmed
from chatgrid.console.pasting import WriteOnlyInput, hand_in_admin_key
from chatgrid.console.scope import viewer_of
from chatgrid.console.site import site
from departments.keys.admin_key import AdminKeyMissing
from departments.keys.models import AdminKeyReference
from departments.keys.patterns import KeyRefused, validate_admin_key
from departments.keys.rotation_subjects import admin_key_of

TAKEN = "The admin key is being tried. It is used as soon as it has answered, usually within a minute."


class AdminKeyForm(forms.Form):
    """Raises nothing that holds the key."""

    key = forms.CharField(
        widget=WriteOnlyInput,
        strip=False,
        required=False,  # an empty field gets its sentence from the same place as a wrong one
        help_text="Begins with sk-admin-. It goes to the secret manager, only the rotator reads it there, and it is "
        "never shown again.",
    )
    reason = forms.CharField(max_length=LONGEST_REASON, help_text="Why; kept in the record.")

    @sensitive_variables()
    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        try:
            values["secret"] = validate_admin_key(values.pop("key", ""))
        except KeyRefused as refused:
            self.add_error("key", str(refused))
        return values


@admin.register(AdminKeyReference, site=site)
class AdminKeyReferenceAdmin(ConsoleAdmin):
    list_display = ("organization", "state", "fingerprint", "age", "expires_at")
    list_select_related = ("organization",)
    ordering = ("organization__name",)
    fields = (
        "organization",
        "state",
        "fingerprint",
        "age",
        "installed_at",
        "expires_at",
        "key_id",
        "secret_name",
        "version",
    )
    readonly_fields = fields
    change_list_template = "admin/keys/adminkeyreference/change_list.html"
    change_form_template = "admin/keys/adminkeyreference/change_form.html"

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # pasting makes the row

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @admin.display(description="age", ordering="installed_at")
    def age(self, key: AdminKeyReference) -> str:
        return timesince(key.installed_at, timezone.now(), depth=1)

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        return super().changelist_view(request, missing_sentence(request))

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> Any:
        key: AdminKeyReference = self.get_object(request, unquote(object_id or ""))
        history = list(admin_key_of(key.organization).rotations()[:20])
        shown = {"rotations": history, "subtitle": f"The admin key of {key.organization}"}
        return super().changeform_view(request, object_id, form_url, {**shown, **(extra_context or {})})

    def get_urls(self) -> list[Any]:
        paste = self.admin_site.admin_view(self.paste_view)
        button = require_POST(self.admin_site.admin_view(self.button_view))
        return [
            path("paste/", paste, name="keys_adminkeyreference_paste"),
            path("<path:object_id>/ask/<slug:button>/", button, name="keys_adminkeyreference_ask"),
            *super().get_urls(),
        ]

    @confirmed("Store the organization’s admin key.", secret=["key"])
    @method_decorator(sensitive_post_parameters("key"))
    def paste_view(self, request: HttpRequest) -> HttpResponse:
        """The form for an admin key. An operator belongs to no organization and uses `manage.py store_admin_key`."""
        organization = viewer_of(request).organization
        if organization is None:
            raise PermissionDenied
        form = AdminKeyForm(request.POST or None, label_suffix="")
        if form.is_valid() and hand_in_admin_key(request, organization, form):
            messages.success(request, TAKEN)
            return redirect("admin:keys_adminkeyreference_changelist")
        context = {
            **self.admin_site.each_context(request),
            "title": "Paste the admin key",
            "opts": self.opts,
            "form": form,
        }
        return TemplateResponse(request, "admin/keys/keyreference/paste.html", context)

    def button_view(self, request: HttpRequest, object_id: str, button: str) -> HttpResponse:
        """Exchange now, or in an emergency."""
        key: AdminKeyReference = self.get_object(request, unquote(object_id))
        if not super().has_change_permission(request, key):
            raise PermissionDenied
        exchange(request, key, admin_key_of(key.organization), emergency=button == "emergency")
        return redirect("admin:keys_adminkeyreference_change", key.pk)


def missing_sentence(request: HttpRequest) -> dict[str, str]:
    """For pages whose buttons need the admin key: why they cannot work, where there is none."""
    organization = viewer_of(request).organization
    if organization is None or AdminKeyReference.objects.filter(organization=organization).exists():
        return {}
    return {"admin_key_missing": AdminKeyMissing(organization.name).sentence}
