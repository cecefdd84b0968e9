"""Organizations: IT sees its own; the platform's operator sees all and adds one.

How long the organization keeps its record (audit.RetentionPolicy, at least 90 days) and its conversations, who must
have a second factor, and in which time zone its budgets begin, is asked for here; each change needs a fresh sign-in and
a reason, whichever way it goes.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.utils import timezone

from audit.models import RetentionPolicy
from chatgrid.console.admin.base import ConsoleAdmin, ConsoleForm
from chatgrid.console.fresh import require_confirmation
from chatgrid.console.recording import record_act, snapshot, stored
from chatgrid.console.scope import viewer_of
from chatgrid.console.site import site
from departments.models import Organization

LONGEST_DAYS = 36_500


def record_days_of(organization: Organization) -> int:
    """How many days this organization keeps its record."""
    own = RetentionPolicy.objects.filter(pk=organization.pk).values_list("days", flat=True)
    return own.first() or RetentionPolicy.DEFAULT_DAYS


def time_zones() -> list[tuple[str, str]]:
    """What is offered: places, as in "Europe/Berlin", and UTC."""
    places = {name for name in available_timezones() if "/" in name and not name.startswith(("Etc/", "SystemV/"))}
    return [(name, name.replace("_", " ")) for name in ["UTC", *sorted(places)]]


class OrganizationForm(ConsoleForm):
    """The organization's own fields, and the days of its record, which lie in the record's tables."""

    time_zone = forms.ChoiceField(initial="UTC", help_text=Organization._meta.get_field("time_zone").help_text)
    record_days = forms.IntegerField(
        label="Days the record is kept",
        min_value=RetentionPolicy.LEAST_DAYS,
        max_value=LONGEST_DAYS,
        initial=RetentionPolicy.DEFAULT_DAYS,
        required=False,
        help_text=f"At least {RetentionPolicy.LEAST_DAYS}. A month ends as a whole: archived, announced, then dropped.",
        error_messages={"min_value": f"The record is kept for at least {RetentionPolicy.LEAST_DAYS} days."},
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "time_zone" in self.fields:
            offered, present = time_zones(), self.instance.time_zone
            known = present in dict(offered)
            self.fields["time_zone"].choices = offered if known else [(present, present), *offered]  # type: ignore[attr-defined]
        if "record_days" in self.fields and not self.instance._state.adding:
            self.initial["record_days"] = record_days_of(self.instance)

    def clean_record_days(self) -> int:
        """A form without it leaves it as it is."""
        return self.cleaned_data["record_days"] or record_days_of(self.instance)


@admin.register(Organization, site=site)
class OrganizationAdmin(ConsoleAdmin):
    form = OrganizationForm
    list_display = ("name", "time_zone", "created_at")
    search_fields = ("name", "slug")
    fieldsets = (
        (None, {"fields": ("name", "slug", "time_zone", "second_factor", "admins_paste_keys")}),
        ("How long things are kept", {"fields": ("record_days", "conversation_days")}),
    )

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return viewer_of(request).is_superuser

    def get_readonly_fields(self, request: HttpRequest, obj: Organization | None = None) -> tuple[str, ...]:
        # keys lie in the secret manager under the slug: another slug would lose them
        return ("slug",) if obj else ()

    @admin.display(description="Days the record is kept")
    def record_days(self, organization: Organization) -> int:
        """For whoever may look and not change."""
        return record_days_of(organization)

    def save_model(self, request: HttpRequest, obj: Organization, form: Any, change: bool) -> None:
        days = form.cleaned_data["record_days"]
        if change and (act := _act(obj, days)):
            require_confirmation(request, act)
        super().save_model(request, obj, form, change)
        if days != record_days_of(obj):
            _keep_record_for(request, obj, days)


def _act(organization: Organization, days: int) -> str:
    """What is about to change in how long things are kept, who needs a second factor and when a day begins, or ""."""
    said = []
    before = Organization.objects.get(pk=organization.pk)
    if before.second_factor != organization.second_factor:
        asked, until_now = organization.get_second_factor_display(), before.get_second_factor_display()
        said.append(f"Change who must have a second factor in {organization} from “{until_now}” to “{asked}”.")
    if before.time_zone != organization.time_zone:
        said.append(_moved(organization, before.time_zone))
    if days != (now := record_days_of(organization)):
        said.append(f"Keep the record of {organization} for {days} days instead of {now}.")
    if before.conversation_days != organization.conversation_days:
        kept = _for(before.conversation_days)
        said.append(f"Keep conversations {_for(organization.conversation_days)} instead of {kept}.")
    return " ".join(said)


def _moved(organization: Organization, zone_before: str) -> str:
    """What another time zone does to the budgets of today. Nothing that was used is lost: it stays on its day."""
    now = timezone.now()
    before, after = now.astimezone(ZoneInfo(zone_before)), now.astimezone(ZoneInfo(organization.time_zone))
    said = (
        f"Begin the days and months of {organization} at midnight in {organization.time_zone} instead of {zone_before}."
    )
    if after.date() > before.date():
        return f"{said} There it is {_day(after)} already: a new day, with its budgets, begins at once."
    if after.date() < before.date():
        return (
            f"{said} There it is still {_day(after)}: the budgets of that day count again, with what was used then,"
            f" and those of {_day(before)} go on after midnight there."
        )
    return f"{said} Today’s budgets keep what was used and end with the day there, where it is {after:%H:%M} now."


def _day(moment: datetime) -> str:
    return f"{moment.day} {moment:%B}"


def _for(days: int | None) -> str:
    return "without an end" if days is None else f"for {days} days"


def _keep_record_for(request: HttpRequest, organization: Organization, days: int) -> None:
    """Raises ValidationError below the least, and so does the database, whoever calls."""
    policy = RetentionPolicy.objects.filter(pk=organization.pk).first()
    before = stored(policy) if policy else {"days": RetentionPolicy.DEFAULT_DAYS}
    policy = RetentionPolicy(organization_id=organization.pk, days=days)
    policy.save()
    record_act(request, policy, "changed", before, snapshot(policy))
