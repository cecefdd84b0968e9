"""What the console keeps of its own: proofs of controls, departures, and searches to repeat."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models
from django.utils import timezone


class ControlProof(models.Model):
    """The result of the last time one check of a control was made for an organization. Checks: console/proofs."""

    class State(models.TextChoices):
        HOLDS = "holds", "Holds"
        OPEN = "open", "Not proven"
        FAILED = "failed", "Does not hold"

    organization = models.ForeignKey("departments.Organization", on_delete=models.CASCADE, related_name="proofs")
    check_name = models.CharField(max_length=32, help_text="A name in chatgrid.console.proofs.CHECKS.")
    state = models.CharField(max_length=8, choices=State.choices, default=State.OPEN)
    evidence = models.JSONField(default=list, help_text="Sentences: text, whether it holds, where to look.")
    checked_at = models.DateTimeField(null=True)
    took_ms = models.PositiveIntegerField(default=0)
    since = models.DateTimeField(default=timezone.now, help_text="When it came into this state.")
    asked_at = models.DateTimeField(null=True, help_text="When somebody last asked for it by hand.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["organization", "check_name"], name="proof_once")]

    def __str__(self) -> str:
        return f"{self.check_name}: {self.get_state_display()}"

    @property
    def is_awaited(self) -> bool:
        """Somebody has asked and no worker has answered yet."""
        return self.asked_at is not None and (self.checked_at is None or self.checked_at < self.asked_at)


class Departure(models.Model):
    """A person's access was ended at once: what was ended, and what is still on its way. The receipt is made of this.

    Names and numbers as they were then; ids so that the receipt can look whether it is done.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey("departments.Organization", on_delete=models.CASCADE, related_name="departures")
    person = models.ForeignKey("accounts.User", on_delete=models.CASCADE, related_name="departures")
    at = models.DateTimeField("when", default=timezone.now)
    by_name = models.CharField("ended by", max_length=120)
    reason = models.CharField(max_length=200)
    role = models.CharField(max_length=16, help_text="The role they had in the organization.")
    memberships = models.JSONField(default=list, help_text="Department and role, in words.")
    sessions_ended = models.PositiveIntegerField(default=0)
    calls = models.JSONField(default=list, help_text="Ids of the calls that were running.")
    rotations = models.JSONField(default=list, help_text="Ids of the exchanges of keys.")

    class Meta:
        ordering = ["-at"]
        verbose_name = "departure"

    def __str__(self) -> str:
        return f"{self.person} left"


class SavedSearch(models.Model):
    """A search of the record that its owner wants to find again. Example: "Refused", event=call%3Arefused."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="saved_searches")
    name = models.CharField(max_length=80)
    query = models.CharField(max_length=2000, help_text="the filters as they stand in the page's address")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["owner", "name"], name="saved_search_name_once")]

    def __str__(self) -> str:
        return self.name
