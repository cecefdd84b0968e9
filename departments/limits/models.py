"""Limits, what was spent against them, and the reservations of calls under way.

What people asked and were granted stands in grant_models.py, who is told in alert_models.py.
"""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.contrib.postgres.indexes import BrinIndex
from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models

CEILINGS = (
    "tokens_per_day",
    "tokens_per_month",
    "money_per_day",
    "money_per_month",
    "requests_per_minute",
    "answers_at_once",
)
"""What a limit can hold. `person_…` of the same names are the default for each person."""

PERSON_CEILINGS = tuple(f"person_{name}" for name in CEILINGS)


def _money(label: str, **options: Any) -> models.DecimalField[Any, Any]:
    return models.DecimalField(
        label, max_digits=14, decimal_places=4, null=True, blank=True, validators=[MinValueValidator(0)], **options
    )


class Limit(models.Model):
    """A ceiling. Which one it is follows from what is named:

    - only the organization: for all its departments together;
    - a department: a pool for everybody in that department together;
    - a person: for that person, wherever they chat;
    - a person and a department: for that person there;
    - a model, alone or with a department: requests per minute to that model.

    `person_…` fields of an organization's or a department's row are an allowance for each person in it. Of a person's
    limits the nearest counts: their own in the department, their own anywhere, the department's allowance, the
    organization's; where a person has both of their own, both hold. A ceiling above holds always.

    Money is in US dollars at the prices of the catalogue. Days and months are those of the organization's time zone.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey("departments.Organization", on_delete=models.CASCADE, related_name="limits")
    department = models.ForeignKey(
        "departments.Department", on_delete=models.CASCADE, null=True, blank=True, related_name="limits"
    )
    person = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, null=True, blank=True, related_name="limits"
    )
    model = models.CharField(max_length=120, blank=True, help_text="Empty: every model.")
    tokens_per_day = models.PositiveBigIntegerField(
        "tokens a day", null=True, blank=True, help_text="Empty: no limit of its own."
    )
    tokens_per_month = models.PositiveBigIntegerField("tokens a month", null=True, blank=True)
    money_per_day = _money("US$ a day")
    money_per_month = _money("US$ a month")
    requests_per_minute = models.PositiveIntegerField(
        "questions a minute", null=True, blank=True, help_text="In any 60 seconds."
    )
    answers_at_once = models.PositiveIntegerField(
        "answers at once", null=True, blank=True, help_text="Being written at the same time."
    )
    person_tokens_per_day = models.PositiveBigIntegerField("each person: tokens a day", null=True, blank=True)
    person_tokens_per_month = models.PositiveBigIntegerField("each person: tokens a month", null=True, blank=True)
    person_money_per_day = _money("each person: US$ a day")
    person_money_per_month = _money("each person: US$ a month")
    person_requests_per_minute = models.PositiveIntegerField("each person: questions a minute", null=True, blank=True)
    person_answers_at_once = models.PositiveIntegerField("each person: answers at once", null=True, blank=True)
    reason = models.CharField(max_length=200, help_text="Why it is so; kept in the record.")
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["organization", "department", "person", "model"]
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "department", "person", "model"],
                nulls_distinct=False,
                name="limit_once_per_scope",
            ),
            models.CheckConstraint(
                condition=models.Q(model="")
                | models.Q(
                    person=None,
                    **{f"{name}__isnull": True for name in CEILINGS if name != "requests_per_minute"},
                    **{f"{name}__isnull": True for name in PERSON_CEILINGS},
                ),
                name="limit_of_a_model_is_a_rate",
                violation_error_message="A model’s limit is a number of requests per minute and nothing else.",
            ),
        ]

    def __str__(self) -> str:
        place = self.person or self.department or self.organization
        return f"{place}: {self.model}" if self.model else str(place)

    def clean(self) -> None:
        for scope in (self.department, self.person):
            if scope is not None and scope.organization_id != self.organization_id:
                raise ValidationError("The limit and what it is for belong to different organizations.")
        if self.person is not None and any(getattr(self, name) is not None for name in PERSON_CEILINGS):
            raise ValidationError("A person’s limit has no default for each person. Set its own ceilings.")


class Spent(models.Model):
    """What was booked on one day in one scope: the figures that a budget is compared with. A month is the sum of its
    days.

    `scope_id` is the id of the organization, department or person; of a member (a person in a department) it is made
    of both (`limits_member`).
    """

    class Scope(models.TextChoices):
        ORGANIZATION = "organization", "Organization"
        DEPARTMENT = "department", "Department"
        PERSON = "person", "Person"
        MEMBER = "member", "Person in a department"

    pk = models.CompositePrimaryKey("scope", "scope_id", "day")
    scope = models.CharField(max_length=16, choices=Scope.choices)
    scope_id = models.UUIDField()
    day = models.DateField(help_text="In the organization's time zone.")
    organization_id = models.UUIDField(null=True)
    department_id = models.UUIDField(null=True)
    person_id = models.UUIDField(null=True)
    tokens = models.BigIntegerField(default=0)
    requests = models.BigIntegerField(default=0)
    cost = models.DecimalField(max_digits=18, decimal_places=8, default=0, help_text="US dollars.")

    class Meta:
        verbose_name = "tokens spent"
        verbose_name_plural = "tokens spent"
        indexes = [models.Index(fields=["organization_id", "day", "scope"], name="spent_organization_day")]

    def __str__(self) -> str:
        return f"{self.scope} {self.scope_id} {self.day}"


class Refused(models.Model):
    """How often a budget of one scope refused on one day: what tells a budget that is used up from one that is not,
    because the last tokens of a budget are too few for an answer and stay.
    """

    pk = models.CompositePrimaryKey("scope", "scope_id", "measure", "period", "day")
    scope = models.CharField(max_length=16, choices=Spent.Scope.choices)
    scope_id = models.UUIDField()
    measure = models.CharField(max_length=16)
    period = models.CharField(max_length=8)
    day = models.DateField(help_text="In the organization's time zone.")
    organization_id = models.UUIDField()
    department_id = models.UUIDField(null=True)
    person_id = models.UUIDField(null=True)
    count = models.BigIntegerField(default=0)
    last_at = models.DateTimeField()
    ceiling = models.DecimalField(max_digits=24, decimal_places=8, null=True, help_text="As it was at the last one.")

    class Meta:
        verbose_name = "refusals"
        verbose_name_plural = "refusals"
        indexes = [models.Index(fields=["organization_id", "day"], name="refused_organization_day")]

    def __str__(self) -> str:
        return f"{self.scope} {self.scope_id} {self.day}: {self.count}"


class Reservation(models.Model):
    """What a call may cost while it runs, and what it did cost after. One row a call; `call_id` is the record's."""

    call_id = models.UUIDField(primary_key=True)
    organization_id = models.UUIDField()
    department_id = models.UUIDField()
    person_id = models.UUIDField()
    purpose = models.CharField(max_length=32)
    model = models.CharField(max_length=120, default="")
    day = models.DateField(help_text="The day the call was admitted in, in the organization's time zone.")
    admitted_at = models.DateTimeField()
    lease_until = models.DateTimeField(help_text="After this moment it holds only what it is known to have used.")
    tokens_counted = models.BigIntegerField(default=0, help_text="What is sent, as we counted it.")
    tokens_prompt = models.BigIntegerField(help_text="What is sent, corrected by what the model's calls have shown.")
    tokens_reserved = models.BigIntegerField(help_text="Prompt estimate and the longest answer allowed.")
    tokens_written = models.BigIntegerField(default=0, help_text="Of the answer, as of the last renewal.")
    price_input = models.DecimalField(max_digits=12, decimal_places=6, null=True, help_text="A million tokens.")
    price_output = models.DecimalField(max_digits=12, decimal_places=6, null=True, help_text="A million tokens.")
    cost_reserved = models.DecimalField(max_digits=18, decimal_places=8, null=True, help_text="US dollars.")
    tokens_used = models.BigIntegerField(null=True)
    tokens_input = models.BigIntegerField(null=True, help_text="Of those, what was sent.")
    cost_used = models.DecimalField(max_digits=18, decimal_places=8, null=True, help_text="US dollars.")
    estimated = models.BooleanField(default=False, help_text="The provider reported nothing: we counted.")
    settled_at = models.DateTimeField(null=True)
    stop_requested = models.BooleanField(default=False)

    class Meta:
        indexes = [
            # what is reserved right now. Not by the end of the lease: a renewal that touches no index costs a fifth
            models.Index(fields=["organization_id"], condition=models.Q(settled_at=None), name="reserved_now"),
            # requests of the last minute
            models.Index(fields=["person_id", "admitted_at"], name="admitted_person"),
            models.Index(fields=["department_id", "admitted_at"], name="admitted_department"),
            models.Index(fields=["organization_id", "admitted_at"], name="admitted_organization"),
            models.Index(fields=["organization_id", "model", "admitted_at"], name="admitted_model"),
            # rows lie in the order of time: what is old enough to be pruned is found by a few bytes a page
            BrinIndex(fields=["admitted_at"], name="admitted_roughly"),
        ]

    def __str__(self) -> str:
        return str(self.call_id)


class Correction(models.Model):
    """How far our count of a model's prompts was from what the provider reported: the largest recent ratio."""

    model = models.CharField(primary_key=True, max_length=120)
    ratio = models.FloatField(help_text="Reported by counted: the estimate of the next call is multiplied by it.")
    calls = models.PositiveIntegerField(help_text="That it was learned from.")
    learned_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return f"{self.model}: {self.ratio:.3f}"


class ProviderPause(models.Model):
    """A department's project has reached its spend limit at the provider: nothing is sent there until `until`."""

    department = models.OneToOneField(
        "departments.Department", on_delete=models.CASCADE, primary_key=True, related_name="provider_pause"
    )
    until = models.DateTimeField()
    reason = models.CharField(max_length=64, help_text="The provider's code.")

    def __str__(self) -> str:
        return f"{self.department} until {self.until:%Y-%m-%d %H:%M}"


from departments.limits import alert_models, grant_models  # noqa: E402, F401 - Django looks for models here
