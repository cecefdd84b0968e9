"""Limits, what was spent against them, and the reservations of calls under way."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models


class Limit(models.Model):
    """A ceiling. Which one it is follows from what is named:

    - only the organization: for all its departments together;
    - a department: for that department together;
    - a person: for that person, wherever they chat.

    `person_…` fields of an organization's or a department's row are the default for each person in it. The person's
    own row wins over the department's default, that one over the organization's; a ceiling above holds always.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey("departments.Organization", on_delete=models.CASCADE, related_name="limits")
    department = models.ForeignKey(
        "departments.Department", on_delete=models.CASCADE, null=True, blank=True, related_name="limits"
    )
    person = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, null=True, blank=True, related_name="limits"
    )
    tokens_per_day = models.PositiveBigIntegerField(null=True, blank=True, help_text="Empty: no limit of its own.")
    requests_per_minute = models.PositiveIntegerField(null=True, blank=True, help_text="Empty: no limit of its own.")
    person_tokens_per_day = models.PositiveBigIntegerField(null=True, blank=True)
    person_requests_per_minute = models.PositiveIntegerField(null=True, blank=True)
    reason = models.CharField(max_length=200, help_text="Why it is so; kept in the record.")
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["organization", "department", "person"]
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "department", "person"], nulls_distinct=False, name="limit_once_per_scope"
            ),
            models.CheckConstraint(
                condition=models.Q(department=None) | models.Q(person=None), name="limit_names_one_scope"
            ),
        ]

    def __str__(self) -> str:
        return str(self.person or self.department or self.organization)

    def clean(self) -> None:
        for scope in (self.department, self.person):
            if scope is not None and scope.organization_id != self.organization_id:
                raise ValidationError("The limit and what it is for belong to different organizations.")


class Spent(models.Model):
    """Tokens booked on one day in one scope: the figure that a budget is compared with."""

    class Scope(models.TextChoices):
        ORGANIZATION = "organization", "Organization"
        DEPARTMENT = "department", "Department"
        PERSON = "person", "Person"

    pk = models.CompositePrimaryKey("scope", "scope_id", "day")
    scope = models.CharField(max_length=16, choices=Scope.choices)
    scope_id = models.UUIDField()
    day = models.DateField(help_text="In the organization's time zone.")
    tokens = models.BigIntegerField(default=0)
    requests = models.BigIntegerField(default=0)

    class Meta:
        verbose_name = "tokens spent"
        verbose_name_plural = "tokens spent"

    def __str__(self) -> str:
        return f"{self.scope} {self.scope_id} {self.day}"


class Reservation(models.Model):
    """What a call may cost while it runs, and what it did cost after. One row a call; `call_id` is the record's."""

    call_id = models.UUIDField(primary_key=True)
    organization_id = models.UUIDField()
    department_id = models.UUIDField()
    person_id = models.UUIDField()
    purpose = models.CharField(max_length=32)
    day = models.DateField(help_text="The day the call was admitted in, in the organization's time zone.")
    admitted_at = models.DateTimeField()
    lease_until = models.DateTimeField(help_text="After this moment the reservation holds nothing any more.")
    tokens_prompt = models.BigIntegerField(help_text="Estimate of what is sent.")
    tokens_reserved = models.BigIntegerField(help_text="Prompt estimate and the longest answer allowed.")
    tokens_written = models.BigIntegerField(default=0, help_text="Of the answer, as of the last renewal.")
    tokens_used = models.BigIntegerField(null=True)
    settled_at = models.DateTimeField(null=True)
    stop_requested = models.BooleanField(default=False)

    class Meta:
        indexes = [
            # what is reserved right now, per scope
            models.Index(
                fields=["organization_id", "day"], condition=models.Q(settled_at=None), name="reserved_organization"
            ),
            models.Index(
                fields=["department_id", "day"], condition=models.Q(settled_at=None), name="reserved_department"
            ),
            models.Index(fields=["person_id", "day"], condition=models.Q(settled_at=None), name="reserved_person"),
            # leases that ran out
            models.Index(fields=["lease_until"], condition=models.Q(settled_at=None), name="reserved_lease"),
            # requests of the last minute
            models.Index(fields=["person_id", "admitted_at"], name="admitted_person"),
            models.Index(fields=["department_id", "admitted_at"], name="admitted_department"),
            models.Index(fields=["organization_id", "admitted_at"], name="admitted_organization"),
        ]

    def __str__(self) -> str:
        return str(self.call_id)
