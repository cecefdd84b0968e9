"""What people asked for beside their budgets, and what they were granted."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models
from django.utils import timezone

from departments.limits.budget import dollars


class Grant(models.Model):
    """More of one budget for a person in a department, until it ends by itself. The ceilings above hold as before."""

    class Measure(models.TextChoices):
        TOKENS = "tokens", "Tokens"
        MONEY = "money", "US dollars"

    class Period(models.TextChoices):
        DAY = "day", "a day"
        MONTH = "month", "a month"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey("departments.Organization", on_delete=models.CASCADE, related_name="grants")
    department = models.ForeignKey("departments.Department", on_delete=models.CASCADE, related_name="grants")
    person = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="grants")
    measure = models.CharField(max_length=8, choices=Measure.choices, default=Measure.TOKENS)
    period = models.CharField(max_length=8, choices=Period.choices, default=Period.DAY)
    amount = models.DecimalField(max_digits=18, decimal_places=4, help_text="On top of the person's own ceiling.")
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    granted_by = models.UUIDField(help_text="The department admin.")
    granted_by_name = models.CharField(max_length=200)
    reason = models.CharField(max_length=400, blank=True)
    end_recorded = models.BooleanField(default=False, help_text="That it ended is in the record.")

    class Meta:
        ordering = ["-starts_at"]
        indexes = [
            models.Index(fields=["person", "department", "ends_at"], name="grant_of_person"),
            models.Index(fields=["ends_at"], condition=models.Q(end_recorded=False), name="grant_to_end"),
        ]

    def __str__(self) -> str:
        return f"{self.person}: {self.words}"

    @property
    def words(self) -> str:
        """As in "20,000 tokens more a day", "$5.00 more a month"."""
        amount = dollars(self.amount) if self.measure == self.Measure.MONEY else f"{int(self.amount):,} tokens"
        return f"{amount} more {self.get_period_display()}"

    @property
    def holds(self) -> bool:
        return self.starts_at <= timezone.now() < self.ends_at


class MoreAsked(models.Model):
    """A person asks for more, with a reason; a department admin grants or declines it, once."""

    class State(models.TextChoices):
        OPEN = "open", "Waiting"
        GRANTED = "granted", "Granted"
        DECLINED = "declined", "Declined"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey("departments.Organization", on_delete=models.CASCADE, related_name="+")
    department = models.ForeignKey("departments.Department", on_delete=models.CASCADE, related_name="more_asked")
    person = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="more_asked")
    measure = models.CharField(max_length=8, choices=Grant.Measure.choices, default=Grant.Measure.TOKENS)
    period = models.CharField(max_length=8, choices=Grant.Period.choices, default=Grant.Period.DAY)
    reason = models.CharField(max_length=400)
    asked_at = models.DateTimeField(auto_now_add=True)
    state = models.CharField(max_length=16, choices=State.choices, default=State.OPEN)
    answered_at = models.DateTimeField(null=True)
    answered_by_name = models.CharField(max_length=200, blank=True)
    grant = models.OneToOneField(Grant, on_delete=models.SET_NULL, null=True, related_name="asked")

    class Meta:
        ordering = ["-asked_at"]
        verbose_name = "request for more"
        verbose_name_plural = "requests for more"
        constraints = [
            models.UniqueConstraint(
                fields=["department", "person"], condition=models.Q(state="open"), name="more_asked_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.person} in {self.department}"
