"""The record's tables.

An event says who acted on what, in plain values: a row outlives the person, the department and the company it names.
Example of a call: actor Mara Lind (id …) asked in Finance (id …), purpose chat, model gpt-6-luna, outcome answered.
Example of an upload: actor Jonas Reh uploaded to HR, subject document (id …), details {"filename": …}.

The tables are made by SQL in the first migration (monthly partitions, grants, triggers), so the models are not managed.
"""

from __future__ import annotations

import uuid
from typing import Any

from django.core.validators import MinValueValidator
from django.db import models
from django.utils import timezone

from audit.events import Event


class AuditEvent(models.Model):
    """One thing that happened. Can be inserted and read; the database refuses everything else."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    at = models.DateTimeField(help_text="UTC, by the database's clock")
    event = models.CharField(max_length=64, help_text="a value of audit.events.Event")
    call_id = models.UUIDField(null=True, help_text="joins the two events of a call")

    organization_id = models.UUIDField(null=True)
    organization_name = models.TextField()
    department_id = models.UUIDField(null=True)
    department_name = models.TextField()
    actor_id = models.UUIDField(null=True)
    actor_name = models.TextField(help_text="the name as it was then")
    client_address = models.TextField()
    subject_kind = models.TextField()
    subject_id = models.TextField()

    purpose = models.TextField()
    model_asked = models.TextField()
    model_answered = models.TextField()
    query_hash = models.TextField(help_text="salted SHA-256 of the text, hex; the text itself lies in AuditText")
    passages = models.JSONField(help_text="ids of the passages that were put before the model")
    tokens_input = models.BigIntegerField(null=True)
    tokens_cached = models.BigIntegerField(null=True)
    tokens_output = models.BigIntegerField(null=True)
    tokens_reasoning = models.BigIntegerField(null=True)
    tokens_estimated = models.BooleanField(help_text="counted by us, because the provider reported nothing")
    cost = models.DecimalField(max_digits=18, decimal_places=8, null=True, help_text="US dollars")
    outcome = models.CharField(max_length=32, help_text="a value of audit.events.Outcome")
    first_token_ms = models.IntegerField(null=True)
    total_ms = models.IntegerField(null=True)
    provider_request_id = models.TextField()
    key_fingerprint = models.TextField()
    key_version = models.TextField()
    labels = models.JSONField(help_text="what the scanner saw; never a reason to refuse by itself")
    details = models.JSONField(help_text="what else belongs to this kind of event")

    class Meta:
        managed = False
        db_table = "audit_event"
        ordering = ["-at"]
        verbose_name = "event"
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M:%S} {self.event}"

    @property
    def sentence(self) -> str:
        """What happened, in words; an event of a newer version shows its name."""
        return Event(self.event).label if self.event in Event.values else self.event


class AuditText(models.Model):
    """The text of a question, apart from its event so that it can be erased while the event, with its hash, stands."""

    event_id = models.UUIDField(primary_key=True)
    at = models.DateTimeField()
    salt = models.BinaryField(help_text="16 random bytes; SHA-256(salt + text) is the event's query_hash")
    text = models.TextField()

    class Meta:
        managed = False
        db_table = "audit_text"
        verbose_name = "text of a question"
        default_permissions = ("view",)

    def __str__(self) -> str:
        return str(self.event_id)


class AuditSeal(models.Model):
    """A signed root over the events numbered `first_seq` to `last_seq`; see audit/seals.py."""

    n = models.BigIntegerField(primary_key=True)
    at = models.DateTimeField()
    first_seq = models.BigIntegerField()
    last_seq = models.BigIntegerField()
    late = models.IntegerField(help_text="events that were older than 15 minutes when they were sealed")
    root = models.BinaryField()
    previous = models.BinaryField(help_text="digest of the seal before this one")
    public_key = models.BinaryField()
    signature = models.BinaryField()

    class Meta:
        managed = False
        db_table = "audit_seal"
        ordering = ["-n"]
        verbose_name = "seal"
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"seal {self.n}"


class AuditLeaf(models.Model):
    """The hash that stands for one event under its seal."""

    event_id = models.UUIDField(primary_key=True)
    seq = models.BigIntegerField()
    seal = models.BigIntegerField()
    at = models.DateTimeField(help_text="the event's time, so that both lie in partitions of one month")
    hash = models.BinaryField()

    class Meta:
        managed = False
        db_table = "audit_leaf"
        ordering = ["seq"]
        verbose_name = "leaf"
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"leaf {self.seq}"


class AnchorState(models.Model):
    """How far a place outside the database has the seals."""

    anchor = models.TextField(primary_key=True)
    seal = models.BigIntegerField(help_text="the last one that is there")
    at = models.DateTimeField()
    problem = models.TextField(help_text="why the last attempt failed")

    class Meta:
        managed = False
        db_table = "audit_anchor_state"
        verbose_name = "anchor"
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"{self.anchor} at seal {self.seal}"


class PushState(models.Model):
    """How far a SIEM has the events; see audit/push.py."""

    target = models.TextField(primary_key=True, help_text="its name in CHATGRID_SIEM")
    seq = models.BigIntegerField(default=0, help_text="number of the last event that was taken there")
    at = models.DateTimeField(null=True, help_text="when it took the last batch")
    failures = models.IntegerField(default=0, help_text="tries in a row that it did not take")
    not_before = models.DateTimeField(null=True)
    problem = models.TextField(default="", help_text="why the last try failed")

    class Meta:
        db_table = "audit_push_state"
        verbose_name = "push to a SIEM"
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"{self.target} at event {self.seq}"


class RetentionPolicy(models.Model):
    """How long an organization keeps its record. Without a row: `DEFAULT_DAYS`."""

    LEAST_DAYS, DEFAULT_DAYS = 90, 365

    organization_id = models.UUIDField(primary_key=True)
    days = models.PositiveIntegerField(
        default=DEFAULT_DAYS,
        validators=[MinValueValidator(LEAST_DAYS, "The record is kept for at least 90 days.")],
        help_text="Days after which a month of the record may go; at least 90.",
    )
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        managed = False
        db_table = "audit_retention_policy"
        verbose_name = "retention of the record"
        verbose_name_plural = "retention of the record"

    def __str__(self) -> str:
        return f"{self.days} days"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Raises ValidationError below the least, whoever calls: forms are not the only way here."""
        self.clean_fields()
        super().save(*args, **kwargs)


class LegalHold(models.Model):
    """While a hold stands, nothing of the organization's record goes, neither months nor texts."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    organization_id = models.UUIDField()
    reason = models.TextField()
    set_by = models.TextField(blank=True, help_text="the name of the person as it was then")
    set_at = models.DateTimeField(default=timezone.now)
    lifted_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        managed = False
        db_table = "audit_legal_hold"
        ordering = ["-set_at"]
        verbose_name = "legal hold"

    def __str__(self) -> str:
        return self.reason[:80]


class VerificationRun(models.Model):
    """One verification of the whole record, asked for on a page or by the clock, and what it found.

    Example: asked by Ada Brandt at 09:12, 1,204 seals checked, no fault. Without an organization the clock asked.
    A process that dies leaves `seen_at` behind, so that a run that nobody works on any more can be told.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization_id = models.UUIDField(null=True, blank=True)
    asked_by_id = models.UUIDField(null=True, blank=True)
    asked_by = models.TextField(blank=True, help_text="the name as it was then")
    asked_at = models.DateTimeField(default=timezone.now)
    started_at = models.DateTimeField(null=True)
    seen_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    done = models.BigIntegerField(default=0, help_text="numbers of events checked")
    total = models.BigIntegerField(default=0)
    seals = models.BigIntegerField(default=0)
    expired_seals = models.BigIntegerField(default=0)
    keys = models.JSONField(default=list)
    anchors = models.JSONField(default=dict, help_text="the newest seal that each place outside holds")
    findings = models.JSONField(default=list)
    faults = models.IntegerField(default=0)
    problem = models.TextField(blank=True, help_text="why it could not be finished")

    class Meta:
        ordering = ["-asked_at"]
        indexes = [models.Index(fields=["-asked_at"], name="verification_newest")]
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"verification of {self.asked_at:%Y-%m-%d %H:%M}"
