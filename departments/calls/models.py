"""The models that may be called, with their sizes and prices. IT edits them; nothing of it is written in code."""

from __future__ import annotations

import uuid
from decimal import Decimal

from django.db import models
from django.utils import timezone

from departments.limits.budget import SMALLEST_ANSWER


class CatalogueModel(models.Model):
    """A model of a provider. Prices are US dollars for a million tokens; a blank price makes the cost unknown."""

    class Kind(models.TextChoices):
        CHAT = "chat", "Chat"
        EMBEDDING = "embedding", "Embedding"

    name = models.CharField(primary_key=True, max_length=120)
    kind = models.CharField(max_length=16, choices=Kind.choices)
    context_tokens = models.PositiveIntegerField(help_text="Prompt and answer together, at most.")
    output_tokens = models.PositiveIntegerField(default=0, help_text="The longest answer the model can write.")
    smallest_answer = models.PositiveIntegerField(
        default=SMALLEST_ANSWER,
        help_text="Tokens below which an answer is of no use. A model that thinks first needs room for its thoughts.",
    )
    price_input = models.DecimalField(max_digits=12, decimal_places=6, null=True, blank=True)
    price_cached = models.DecimalField(max_digits=12, decimal_places=6, null=True, blank=True)
    price_output = models.DecimalField(max_digits=12, decimal_places=6, null=True, blank=True)
    shutdown_on = models.DateField(null=True, blank=True, help_text="Announced by the provider.")

    class Meta:
        ordering = ["kind", "name"]
        verbose_name = "model"

    def __str__(self) -> str:
        return self.name

    def cost(self, prompt: int, cached: int, output: int) -> Decimal | None:
        """US dollars of a call: (prompt - cached) at the input price, cached and output at theirs."""
        if self.price_input is None:
            return None
        cached_price = self.price_input if self.price_cached is None else self.price_cached
        dollars = (prompt - cached) * self.price_input + cached * cached_price + output * (self.price_output or 0)
        return dollars / 1_000_000


class Trial(models.Model):
    """Attacks tried on a department's own rules and model, and what became of each. Scores are kept for good.

    `tried` holds one object an attack (departments/calls/trials.py); `rules_digest` says which rules these were, so
    that two trials can be compared. A worker owns a trial until `lease_until`.
    """

    class State(models.TextChoices):
        WAITING = "waiting", "Waiting"
        RUNNING = "running", "Running"
        FINISHED = "finished", "Finished"
        STOPPED = "stopped", "Stopped early"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    department = models.ForeignKey("departments.Department", on_delete=models.CASCADE, related_name="trials")
    started_by = models.UUIDField()
    started_by_name = models.CharField(max_length=200)
    started_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True)
    state = models.CharField(max_length=16, choices=State.choices, default=State.WAITING)
    sentence = models.CharField(max_length=400, blank=True, help_text="Why it stopped early.")
    model = models.CharField(max_length=120)
    rules_digest = models.CharField(max_length=64)
    budget = models.PositiveIntegerField(help_text="Tokens it may use at most.")
    tokens = models.PositiveIntegerField(default=0)
    attacks = models.JSONField(default=list, help_text="What is to be tried, with the marks of this trial.")
    tried = models.JSONField(default=list)
    lease_until = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-started_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["department"], condition=models.Q(finished_at=None), name="trial_one_at_a_time"
            )
        ]

    def __str__(self) -> str:
        return f"{self.department}, {self.started_at:%Y-%m-%d %H:%M}"
