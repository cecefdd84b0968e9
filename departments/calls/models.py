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
    kind = models.CharField("used for", max_length=16, choices=Kind.choices)
    context_tokens = models.PositiveIntegerField("prompt and answer together, at most (tokens)")
    output_tokens = models.PositiveIntegerField("longest answer (tokens)", default=0)
    smallest_answer = models.PositiveIntegerField(
        "shortest useful answer (tokens)",
        default=SMALLEST_ANSWER,
        help_text="A model that thinks first needs room for its thoughts.",
    )
    price_input = models.DecimalField(
        "input (US$ a million tokens)", max_digits=12, decimal_places=6, null=True, blank=True
    )
    price_cached = models.DecimalField(
        "input read from the cache (US$ a million tokens)",
        max_digits=12,
        decimal_places=6,
        null=True,
        blank=True,
        help_text="Empty: as input.",
    )
    price_cache_write = models.DecimalField(
        "input written to the cache (US$ a million tokens)",
        max_digits=12,
        decimal_places=6,
        null=True,
        blank=True,
        help_text="Empty: as input.",
    )
    price_output = models.DecimalField(
        "output (US$ a million tokens)",
        max_digits=12,
        decimal_places=6,
        null=True,
        blank=True,
        help_text="Reasoning is part of it.",
    )
    long_prompt_tokens = models.PositiveIntegerField(
        "input is long above (tokens)",
        null=True,
        blank=True,
        help_text="Then the whole call costs more. Empty: never.",
    )
    long_input_times = models.DecimalField(
        "price of long input, times",
        max_digits=5,
        decimal_places=2,
        default=Decimal(2),
        help_text="As in 2: a million tokens of long input cost twice as much.",
    )
    long_output_times = models.DecimalField(
        "price of the output after it, times",
        max_digits=5,
        decimal_places=2,
        default=Decimal("1.5"),
        help_text="As in 1.5.",
    )
    shutdown_on = models.DateField(
        "ends on", null=True, blank=True, help_text="The day on which the provider switches it off."
    )

    class Meta:
        ordering = ["kind", "name"]
        verbose_name = "model"

    def __str__(self) -> str:
        return self.name

    def cost(self, prompt: int, cached: int, output: int, written: int = 0) -> Decimal | None:
        """US dollars of a call. `cached` (read from the cache) and `written` (to it) are parts of `prompt`."""
        if self.price_input is None:
            return None
        cached_price = self.price_input if self.price_cached is None else self.price_cached
        written_price = self.price_input if self.price_cache_write is None else self.price_cache_write
        fresh = prompt - cached - written
        sent = fresh * self.price_input + cached * cached_price + written * written_price
        input_times, output_times = self._times(prompt)
        return (sent * input_times + output * (self.price_output or 0) * output_times) / 1_000_000

    def dearest(self, prompt: int) -> tuple[Decimal | None, Decimal | None]:
        """The most that a million tokens of a call with such a prompt may cost: sent, and answered.

        Which part of a prompt will be written to the cache is the provider's to decide, so all of it is counted so.
        """
        if self.price_input is None:
            return None, self.price_output
        input_times, output_times = self._times(prompt)
        sent = max(self.price_input, self.price_cache_write or self.price_input) * input_times
        return sent, None if self.price_output is None else self.price_output * output_times

    def _times(self, prompt: int) -> tuple[Decimal, Decimal]:
        is_long = self.long_prompt_tokens is not None and prompt > self.long_prompt_tokens
        return (self.long_input_times, self.long_output_times) if is_long else (Decimal(1), Decimal(1))


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
