"""Who is told that a budget nears its end, what was told, and what is on its way."""

from __future__ import annotations

import uuid

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import models

from departments.limits.grant_models import Grant
from departments.limits.models import Spent
from departments.outgoing import check_url


class AlertTarget(models.Model):
    """Where an organization wants to be told that a budget nears its end, beside the people whose budget it is.

    A webhook's signing secret is not stored: it is derived from the target's id and `secret_epoch` (alerts.secret_of).
    """

    class Kind(models.TextChoices):
        EMAIL = "email", "E-mail"
        WEBHOOK = "webhook", "Webhook"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey("departments.Organization", on_delete=models.CASCADE, related_name="alert_targets")
    department = models.ForeignKey(
        "departments.Department",
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="alert_targets",
        help_text="Empty: every department, and the company's own budgets.",
    )
    kind = models.CharField("sent by", max_length=8, choices=Kind.choices)
    address = models.CharField(max_length=500, help_text="An e-mail address, or the address of an HTTPS server.")
    secret_epoch = models.PositiveIntegerField(default=1, editable=False, help_text="One more makes a new secret.")
    is_active = models.BooleanField("send alerts", default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["kind", "address"]
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "department", "kind", "address"],
                nulls_distinct=False,
                name="alert_target_once",
            )
        ]

    def __str__(self) -> str:
        return self.address

    def clean(self) -> None:
        if self.department is not None and self.department.organization_id != self.organization_id:
            raise ValidationError("The department belongs to another organization.")
        if self.kind == self.Kind.EMAIL:
            validate_email(self.address)
        elif self.kind == self.Kind.WEBHOOK:
            check_url(self.address)


class Alert(models.Model):
    """A share of a budget was reached: once for each budget, period and share, and again after a raised ceiling."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey("departments.Organization", on_delete=models.CASCADE, related_name="alerts")
    department_id = models.UUIDField(null=True)
    person_id = models.UUIDField(null=True)
    scope = models.CharField(max_length=16, choices=Spent.Scope.choices)
    scope_id = models.UUIDField()
    measure = models.CharField(max_length=8, choices=Grant.Measure.choices)
    period = models.CharField(max_length=8, choices=Grant.Period.choices)
    begins = models.DateField(help_text="The first day of the period, in the organization's time zone.")
    percent = models.PositiveSmallIntegerField()
    used = models.DecimalField(max_digits=24, decimal_places=8)
    ceiling = models.DecimalField(max_digits=24, decimal_places=8)
    raised_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-raised_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["scope", "scope_id", "measure", "period", "begins", "percent", "ceiling"], name="alert_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.percent} % of {self.measure} {self.get_period_display()}"


class Notice(models.Model):
    """One message on its way out: written in one transaction with what it is about, and sent by a task that retries."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey("departments.Organization", on_delete=models.CASCADE, related_name="notices")
    target = models.ForeignKey(AlertTarget, on_delete=models.CASCADE, null=True, help_text="None for a person's mail.")
    kind = models.CharField(max_length=8, choices=AlertTarget.Kind.choices)
    address = models.CharField(max_length=500)
    subject = models.CharField(max_length=200)
    body = models.TextField(help_text="The mail's text, or the webhook's JSON.")
    attempts = models.PositiveSmallIntegerField(default=0)
    next_at = models.DateTimeField(null=True, help_text="None: it is sent, or given up.")
    sent_at = models.DateTimeField(null=True)
    problem = models.CharField(max_length=200, blank=True, help_text="Why the last attempt did not work.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-created_at"]
        indexes = [models.Index(fields=["next_at"], condition=models.Q(sent_at=None), name="notice_due")]

    def __str__(self) -> str:
        return self.subject
