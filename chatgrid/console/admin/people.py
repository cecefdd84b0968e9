"""People and their memberships. IT never knows a password: a new person gets a link by mail and chooses one.

Rules:
- Nobody changes their own role or closes their own sign-in, so a company cannot lock its last IT person out.
- An address can be corrected until the person has signed in. Later it would hand the account, with its conversations,
  to whoever reads the new mailbox.
- Closing a sign-in ends its sessions in the same transaction. People are not deleted: what they did stays theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import path
from django.views.decorators.http import require_POST

from chatgrid.accounts.models import User
from chatgrid.accounts.recording import record_taken_off
from chatgrid.accounts.second_factor import has_second_factor, take_off
from chatgrid.console.admin.base import ConsoleAdmin, ConsoleInline, DepartmentFilter, counted
from chatgrid.console.dangers import confirm_change
from chatgrid.console.fresh import LONGEST_REASON, confirmed, require_confirmation
from chatgrid.console.invitations import invite
from chatgrid.console.leaving import keys_in_sight, leave_now, running_calls
from chatgrid.console.precedence import limits_of
from chatgrid.console.recording import record_act, record_difference, snapshot, stored
from chatgrid.console.scope import lock_with_viewer, may_change, viewer_of
from chatgrid.console.sessions import end_sessions, sessions_of
from chatgrid.console.site import site
from departments.models import Membership

MOST_MAILS = 50


class MembershipInline(ConsoleInline):
    model = Membership
    fields = ("department", "role")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may_change(request.user)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("user", "department")


class PersonDepartmentFilter(DepartmentFilter):
    lookup = "memberships__department"


@admin.register(User, site=site)
class PersonAdmin(ConsoleAdmin):
    list_display = ("name", "email", "role", "departments_named", "is_active", "last_sign_in")
    list_filter = ("role", "is_active", PersonDepartmentFilter)
    search_fields = ("name", "email")
    search_help_text = "Name or e-mail address"
    actions = ("send_link", "close", "open")
    change_form_template = "admin/accounts/user/change_form.html"
    inlines = (MembershipInline,)

    def get_fields(self, request: HttpRequest, obj: User | None = None) -> tuple[str, ...]:
        if obj:
            return ("name", "email", "role", "is_active", "last_sign_in")
        own = ("organization",) if viewer_of(request).is_superuser else ()
        return (*own, "name", "email", "role")

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> tuple[str, ...]:
        if obj is None:
            return ()
        myself = ("role", "is_active") if obj.pk == request.user.pk else ()
        address = ("email",) if obj.last_login else ()
        return (*myself, *address, "last_sign_in")

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        return super().get_queryset(request).prefetch_related("memberships__department")

    @admin.display(description="departments")
    def departments_named(self, person: User) -> str:
        return ", ".join(membership.department.name for membership in person.memberships.all()) or "-"

    @admin.display(description="last sign-in (UTC)", ordering="last_login")
    def last_sign_in(self, person: User) -> str:
        return f"{person.last_login:%Y-%m-%d %H:%M}" if person.last_login else "Never yet"

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        if change:
            change_person(request, obj)
            return
        obj.set_unusable_password()
        super().save_model(request, obj, form, change)
        transaction.on_commit(partial(invite, request, obj))

    @admin.action(description="Send a link to set a password", permissions=["change"])
    def send_link(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        people = list(queryset.filter(is_active=True)[: MOST_MAILS + 1])
        if len(people) > MOST_MAILS:
            messages.error(request, f"At most {MOST_MAILS} mails at once. Nobody was sent one: choose fewer people.")
            return
        for person in people:
            record_act(request, person, "link to set a password sent")
            invite(request, person)

    @admin.action(description="Close: end sessions, no sign-in any more", permissions=["change"])
    def close(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        people = [person for person in queryset.filter(is_active=True) if person.pk != request.user.pk]
        require_confirmation(request, f"Close the sign-in of {counted(len(people), self.opts)}.")
        self._set_active(request, people, False)
        messages.success(request, f"Closed: {len(people)}. Nobody closes their own sign-in.")

    @admin.action(description="Open again", permissions=["change"])
    def open(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        people = list(queryset.filter(is_active=False))
        require_confirmation(request, f"Open the sign-in of {counted(len(people), self.opts)} again.")
        self._set_active(request, people, True)
        messages.success(request, f"Open again: {len(people)}.")

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        person = self.get_object(request, unquote(object_id))
        shown = {"places": limits_of(person), "person": person, "has_second_factor": has_second_factor(person)}
        return super().change_view(request, object_id, form_url, {**shown, **(extra_context or {})})

    def get_urls(self) -> list[Any]:
        leave = self.admin_site.admin_view(self.leave_view)
        factor = require_POST(self.admin_site.admin_view(self.factor_view))
        return [
            path("<path:object_id>/leave/", leave, name="accounts_user_leave"),
            path("<path:object_id>/second-factor/", factor, name="accounts_user_factor"),
            *super().get_urls(),
        ]

    def factor_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """For somebody who lost phone and codes: the second factor goes, and every session with it."""
        person: User = self.get_object(request, unquote(object_id))
        if person.pk == request.user.pk or not may_change(request.user):
            raise PermissionDenied  # one's own is taken off in the account, with the factor itself
        confirmed = require_confirmation(request, f"Take the second factor of {person} off.")
        with transaction.atomic():
            ended = end_sessions([person.pk]) if take_off(person) else 0
            record_taken_off(request, person, confirmed.details() | {"sessions_ended": ended})
        messages.success(request, f"{person} signs in with the password alone until they set up a new one.")
        return redirect("admin:accounts_user_change", person.pk)

    @confirmed("End everything this person can do, at once.")
    def leave_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """What will end, and then the receipt."""
        person: User = self.get_object(request, unquote(object_id))
        if person.pk == request.user.pk or person.organization_id is None:
            raise PermissionDenied  # nobody locks themselves out; an operator's account is the command line's
        if request.method == "POST":
            departure = leave_now(request, person, require_confirmation(request, f"End the access of {person}."))
            return redirect("admin:console_departure_change", departure.pk)
        shown = {
            **self.admin_site.each_context(request),
            "title": f"Leave now: {person}",
            "opts": self.opts,
            "person": person,
            "sessions": len(sessions_of([person.pk])),
            "calls": len(running_calls(person)),
            "memberships": [str(each.department) for each in person.memberships.select_related("department")],
            "keys": keys_in_sight(person),
            "longest_reason": LONGEST_REASON,
        }
        return TemplateResponse(request, "console/leave.html", shown)

    def _set_active(self, request: HttpRequest, people: Sequence[User], is_active: bool) -> None:
        with transaction.atomic():
            for person in people:
                person.is_active = is_active
                change_person(request, person)


def change_person(request: HttpRequest, person: User) -> None:
    """Save a person who was changed; somebody who may not sign in any more has no session left."""
    lock_with_viewer(request, person)
    before = stored(person)
    confirm_change(request, person, before)
    person.save()
    closed = before["is_active"] and not person.is_active
    more = {"sessions_ended": end_sessions([person.pk])} if closed else {}
    record_difference(request, person, before, snapshot(person), **more)


@admin.register(Membership, site=site)
class MembershipAdmin(ConsoleAdmin):
    """All memberships, for departments too large for a list on their own page."""

    list_display = ("user", "department", "role", "created_at")
    list_filter = ("role", DepartmentFilter)
    list_select_related = ("user", "department")
    search_fields = ("user__name", "user__email")
    search_help_text = "Name or e-mail address"
    autocomplete_fields = ("user",)
    fields = ("user", "department", "role")
    ordering = ("department__name", "user__name")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may_change(request.user)

    def get_readonly_fields(self, request: HttpRequest, obj: Membership | None = None) -> tuple[str, ...]:
        return ("user", "department") if obj else ()
