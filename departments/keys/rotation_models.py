"""Rotations and who has access to a key. Kept apart from models.py, which only passes them on to Django."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models
from django.utils import timezone


class Rotation(models.Model):
    """One exchange of a secret, from the plan to the proof that the old value is dead. Rules: `rotation.py`.

    `id` is also the version id of the new value in the secret manager and part of the new key's name at the provider.
    A row holds ids and fingerprints, never a value.
    """

    class What(models.TextChoices):
        KEY = "key", "A department's key"
        ADMIN_KEY = "admin_key", "The organization's admin key"
        STORE_PASSWORD = "store_password", "The password of a department's store"

    class Trigger(models.TextChoices):
        SCHEDULE = "schedule", "The key is as old as the schedule allows"
        PERSON_LEFT = "person_left", "A person with access to the key left or lost it"
        LEAK = "leak", "The key may have leaked"
        EXPIRY = "expiry", "The key expires soon"
        BUTTON = "button", "By hand"
        PASTE = "paste", "A new key was pasted"

    class Mode(models.TextChoices):
        PLANNED = "planned", "Planned: the old key is kept for a day"
        PROMPT = "prompt", "Prompt: the old key is deleted as soon as it is unused"
        EMERGENCY = "emergency", "Emergency: the old key is deleted at once"

    class Step(models.TextChoices):
        """The next thing to do."""

        PLAN = "plan", "Look at what is there"
        MINT = "mint", "Make the new key"
        STAGE = "stage", "Store the new key"
        VERIFY = "verify", "Try the new key"
        PROMOTE = "promote", "Make the new key current"
        REVERT = "revert", "Make the old key current again"
        UNSTAGE = "unstage", "Clear the waiting mark"
        ANNOUNCE = "announce", "Tell every process"
        DRAIN = "drain", "Wait until the old key is unused"
        RETIRE = "retire", "Delete the old key"
        PROVE = "prove", "Prove the old key dead"
        CLOSED = "closed", "Closed"

    class Result(models.TextChoices):
        DONE = "done", "Done: the old key is proven dead"
        ROLLED_BACK = "rolled_back", "Given up: the old key is in use, the new one is dead"
        OUTAGE = "outage", "The old key is dead and there is no new one"
        SUPERSEDED = "superseded", "The provider deletes whole accounts only: the next rotation does that"
        HANDED_OVER = "handed_over", "Another exchange was needed first: it proves this one's old key dead, too"
        ARCHIVED = "archived", "Ended with its project or its store, which was closed for good"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    what = models.CharField(max_length=16, choices=What.choices, default=What.KEY)
    organization = models.ForeignKey("departments.Organization", on_delete=models.CASCADE, related_name="rotations")
    department = models.ForeignKey(
        "departments.Department",
        on_delete=models.CASCADE,
        related_name="rotations",
        null=True,
        help_text="Empty for the organization's admin key.",
    )
    trigger = models.CharField(max_length=16, choices=Trigger.choices)
    mode = models.CharField(max_length=16, choices=Mode.choices, default=Mode.PLANNED)
    step = models.CharField(max_length=16, choices=Step.choices, default=Step.PLAN)
    result = models.CharField(max_length=16, choices=Result.choices, blank=True)
    started_by_id = models.UUIDField(null=True, help_text="The person who asked for it; empty for the clock.")
    started_by_name = models.CharField(max_length=120, blank=True)
    reason = models.CharField(max_length=200, blank=True, help_text="Why, in the words of the person who asked.")

    secret_name = models.CharField(max_length=512)
    project_id = models.CharField(max_length=64, blank=True)
    old_version = models.CharField(max_length=64, blank=True)
    old_key_id = models.CharField(max_length=64, blank=True)
    old_account_id = models.CharField(max_length=64, blank=True)
    old_fingerprint = models.CharField(max_length=64, blank=True)
    new_key_id = models.CharField(max_length=64, blank=True)
    new_account_id = models.CharField(max_length=64, blank=True)
    new_fingerprint = models.CharField(max_length=64, blank=True)
    new_expires_at = models.DateTimeField(null=True)

    pasted_by_id = models.UUIDField(null=True, help_text="The person who pasted the new key.")
    by_paste = models.BooleanField(default=False, help_text="The new key comes from a person, not from the Admin API.")
    own_account = models.BooleanField(default=False, help_text="Make a new service account and delete the old one.")
    by_person = models.BooleanField(default=False, help_text="A person must delete the key at the provider.")
    give_up_asked = models.BooleanField(default=False)
    giving_up = models.BooleanField(default=False)
    deletion_confirmed = models.BooleanField(default=False, help_text="Delete the old key though there is no new one.")
    needs_confirmation = models.BooleanField(default=False)
    again = models.CharField(
        max_length=16,
        choices=Mode.choices,
        blank=True,
        help_text="Asked for when the new key was in use already: another exchange follows this one.",
    )
    also_prove = models.JSONField(
        default=list, blank=True, help_text="Versions of earlier exchanges that are to be proven dead by this one."
    )
    problem = models.CharField(max_length=300, blank=True, help_text="Why it waits, for the page.")

    started_at = models.DateTimeField()
    step_since = models.DateTimeField()
    promoted_at = models.DateTimeField(null=True)
    announced_at = models.DateTimeField(null=True)
    retiring_at = models.DateTimeField(null=True, help_text="From here on there is no way back.")
    alarmed_at = models.DateTimeField(null=True)
    closed_at = models.DateTimeField(null=True)
    tries = models.PositiveIntegerField(default=0, help_text="How often the step at hand was tried.")
    not_before = models.DateTimeField(null=True, help_text="When the step at hand is tried again.")
    claim = models.UUIDField(null=True, help_text="The worker that holds it.")
    claimed_until = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-started_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["department", "what"],
                condition=models.Q(closed_at__isnull=True, department__isnull=False),
                name="rotation_one_open_of_department",
            ),
            models.UniqueConstraint(
                fields=["organization", "what"],
                condition=models.Q(closed_at__isnull=True, department__isnull=True),
                name="rotation_one_open_of_organization",
            ),
        ]
        indexes = [models.Index(fields=["closed_at", "not_before"], name="rotation_due")]

    def __str__(self) -> str:
        return f"{self.get_step_display()} ({self.started_at:%Y-%m-%d %H:%M})"

    @property
    def place(self) -> str:
        """Whose secret it is, in words: Finance; Finance, password of the store; Acme, admin key."""
        if self.department is None:
            return f"{self.organization.name}, admin key"
        return self.department.name + (", password of the store" if self.what == self.What.STORE_PASSWORD else "")


class KeyAccess(models.Model):
    """A person who knows, or can get at, a secret. When that ends it is exchanged: `key_people.py`.

    Without a department it is the organization's admin key.
    """

    class How(models.TextChoices):
        PASTED = "pasted", "Pasted it"
        ROTATES = "rotates", "May rotate it (IT)"
        VAULT = "vault", "Administers its entry in the secret manager"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey("departments.Organization", on_delete=models.CASCADE, related_name="key_people")
    department = models.ForeignKey(
        "departments.Department",
        on_delete=models.CASCADE,
        related_name="key_people",
        null=True,
        blank=True,
        help_text="Empty: the organization's admin key.",
    )
    person = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="key_access")
    how = models.CharField(max_length=16, choices=How.choices)
    since = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["department__name", "how"]
        verbose_name = "access to a key"
        verbose_name_plural = "access to keys"
        constraints = [
            models.UniqueConstraint(fields=["department", "person", "how"], name="key_access_once"),
            models.UniqueConstraint(
                fields=["organization", "person", "how"],
                condition=models.Q(department__isnull=True),
                name="key_access_once_of_admin_key",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.person}: {self.get_how_display()}"
