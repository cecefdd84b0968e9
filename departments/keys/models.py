"""Where keys are. The value of a key never lies in this database."""

from __future__ import annotations

import uuid

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils import timezone

# two weeks before its end a key is exchanged; OpenAI makes none for longer than a year
SHORTEST_LIFE, LONGEST_LIFE = 15, 365
KEY_DAYS = f"A key lives {SHORTEST_LIFE} to {LONGEST_LIFE} days."


class KeyReference(models.Model):
    """A department's provider key: where it lies in the secret manager and what may be known about it."""

    class State(models.TextChoices):
        ACTIVE = "active", "Active"
        BROKEN = "broken", "Refused by the provider"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    department = models.OneToOneField("departments.Department", on_delete=models.CASCADE, related_name="key")
    secret_name = models.CharField("name in the secret manager", max_length=512, unique=True)
    version = models.CharField("version in the secret manager", max_length=64)
    fingerprint = models.CharField(max_length=64, help_text="Tells two keys apart without telling either.")
    project_id = models.CharField("project at the provider", max_length=64, blank=True)
    key_id = models.CharField("id at the provider", max_length=64, blank=True)
    service_account_id = models.CharField("service account at the provider", max_length=64, blank=True)
    installed_at = models.DateTimeField(
        "in use since", default=timezone.now, help_text="When this version of it became current."
    )
    expires_at = models.DateTimeField("ends by itself on", null=True, blank=True)
    state = models.CharField(max_length=16, choices=State.choices, default=State.ACTIVE)
    used_at_provider = models.DateTimeField(
        null=True, blank=True, help_text="The provider's last use of it, as of the last hourly comparison."
    )
    created_at = models.DateTimeField("first stored", auto_now_add=True)
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        verbose_name = "key"
        ordering = ["secret_name"]

    def __str__(self) -> str:
        return self.secret_name


class AdminKeyReference(models.Model):
    """An organization's key for the provider's Admin API: where it lies. Only the rotator may read its value."""

    class State(models.TextChoices):
        ACTIVE = "active", "Active"
        BROKEN = "broken", "Refused by the provider"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.OneToOneField("departments.Organization", on_delete=models.CASCADE, related_name="admin_key")
    secret_name = models.CharField("name in the secret manager", max_length=512, unique=True)
    version = models.CharField("version in the secret manager", max_length=64)
    fingerprint = models.CharField(max_length=64, help_text="Tells two keys apart without telling either.")
    key_id = models.CharField("id at OpenAI", max_length=64, blank=True)
    installed_at = models.DateTimeField(
        "in use since", default=timezone.now, help_text="When this version of it became current."
    )
    expires_at = models.DateTimeField("ends by itself on", null=True, blank=True)
    state = models.CharField(max_length=16, choices=State.choices, default=State.ACTIVE)
    created_at = models.DateTimeField(auto_now_add=True)
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        verbose_name = "admin key"
        ordering = ["secret_name"]

    def __str__(self) -> str:
        return self.secret_name


class Retention(models.TextChoices):
    """How long OpenAI keeps what a project sends. All but the first two need OpenAI's consent."""

    ORGANIZATION_DEFAULT = "organization_default", "As the organization's"
    NONE = "none", "No control of its own"
    ZERO = "zero_data_retention", "Nothing is kept"
    MODIFIED = "modified_abuse_monitoring", "Kept without content"
    ENHANCED_ZERO = "enhanced_zero_data_retention", "Nothing is kept (enhanced)"
    ENHANCED_MODIFIED = "enhanced_modified_abuse_monitoring", "Kept without content (enhanced)"


class ProviderProject(models.Model):
    """A department's project at OpenAI: what it should be, how far it was made, what was last applied.

    Money is in US cents. An empty ceiling leaves the provider's own. `applied` holds the wanted values of each step
    that was done, so that a change of plan shows as a difference.
    """

    class State(models.TextChoices):
        PLANNED = "planned", "Planned"
        WORKING = "working", "Being made"
        READY = "ready", "Ready"
        FAILED = "failed", "Stopped at a step"
        ARCHIVED = "archived", "Archived"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    department = models.OneToOneField("departments.Department", on_delete=models.CASCADE, related_name="project")
    name = models.CharField(max_length=200, unique=True, help_text="Environment, organization and department.")
    project_id = models.CharField("project at OpenAI", max_length=64, blank=True)
    service_account_id = models.CharField("service account at OpenAI", max_length=64, blank=True)
    state = models.CharField(max_length=16, choices=State.choices, default=State.PLANNED)
    step = models.CharField("last step", max_length=32, blank=True)
    failure = models.CharField("why it stopped, and what to do", max_length=400, blank=True)
    applied = models.JSONField(default=dict, blank=True)
    plan = models.JSONField(default=list, blank=True, editable=False, help_text="What applying would have done.")
    plan_sentence = models.CharField("why there is no plan", max_length=400, blank=True, editable=False)
    planned_at = models.DateTimeField("plan made", null=True, blank=True, editable=False)

    allowed_models = models.JSONField(
        "further models",
        default=list,
        blank=True,
        help_text="Empty: the department's model and that of the embeddings.",
    )
    monthly_cents = models.PositiveIntegerField(
        "limit a month (US cents)", null=True, blank=True, help_text="OpenAI answers nothing beyond it."
    )
    alert_percents = models.JSONField(
        "warn at (percent)", default=list, blank=True, help_text="Mails at these shares of the limit."
    )
    alert_recipients = models.JSONField("who is warned", default=list, blank=True, help_text="E-mail addresses.")
    requests_per_minute = models.PositiveIntegerField(null=True, blank=True, help_text="For each model.")
    tokens_per_minute = models.PositiveIntegerField(null=True, blank=True, help_text="For each model.")
    retention = models.CharField(
        "what OpenAI keeps", max_length=64, choices=Retention.choices, default=Retention.ORGANIZATION_DEFAULT
    )
    key_days = models.PositiveIntegerField(
        "days until a key ends",
        default=104,
        validators=[MinValueValidator(SHORTEST_LIFE, KEY_DAYS), MaxValueValidator(LONGEST_LIFE, KEY_DAYS)],
        help_text="Days until a new key ends by itself.",
    )
    key_scopes = models.JSONField(
        "what a key may do", default=list, blank=True, help_text="Empty: all that the project may do."
    )

    mint_token = models.CharField(max_length=64, blank=True, editable=False)
    asked_at = models.DateTimeField(null=True, blank=True, editable=False)
    lease_until = models.DateTimeField(null=True, blank=True, editable=False)
    checked_at = models.DateTimeField("last compared with OpenAI", null=True, blank=True, editable=False)
    archived_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        verbose_name = "project"
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(
                fields=["project_id"], condition=~models.Q(project_id=""), name="project_belongs_to_one_department"
            )
        ]

    def __str__(self) -> str:
        return self.name


class Finding(models.Model):
    """A difference between what OpenAI has and what we want. One open finding for a department and kind."""

    class Kind(models.TextChoices):
        PROJECT_GONE = "project_gone", "The project is gone or archived"
        PROJECT_RENAMED = "project_renamed", "The project has another name"
        ACCOUNT_GONE = "account_gone", "The service account is gone or has lost its role"
        KEY_GONE = "key_gone", "Our key is no longer there"
        KEY_UNKNOWN = "key_unknown", "There is a key that we did not make"
        KEY_EXPIRING = "key_expiring", "Our key ends soon"
        MODELS = "models", "Other models are allowed"
        TOOLS = "tools", "Hosted tools are switched on"
        SPEND_LIMIT = "spend_limit", "The spend limit differs"
        SPEND_ALERTS = "spend_alerts", "The spend alerts differ"
        RATE_LIMITS = "rate_limits", "The rate limits are wider"
        RETENTION = "retention", "The retention differs"
        LEAKED_KEY = "leaked_key", "Somebody else uses our key"
        DELETED_KEY_USED = "deleted_key_used", "A deleted key was used"
        FOREIGN_USE = "foreign_use", "A key that is not ours was used in our project"
        FOREIGN_ACT = "foreign_act", "Somebody else changed something in our project"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    department = models.ForeignKey("departments.Department", on_delete=models.CASCADE, related_name="findings")
    kind = models.CharField(max_length=32, choices=Kind.choices)
    sentence = models.CharField(max_length=400)
    evidence = models.JSONField(default=dict, help_text="What was wanted and what was found; never a key.")
    opened_at = models.DateTimeField(auto_now_add=True)
    seen_at = models.DateTimeField(help_text="When it was last found.")
    closed_at = models.DateTimeField(null=True, blank=True)
    closed_how = models.CharField(max_length=16, blank=True, help_text="repaired, or vanished by itself.")
    problem = models.CharField(max_length=400, blank=True, help_text="Why the last repair did not work.")

    class Meta:
        ordering = ["-opened_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["department", "kind"], condition=models.Q(closed_at=None), name="finding_open_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.department}: {self.get_kind_display()}"


from departments.keys.rotation_models import KeyAccess, Rotation  # noqa: E402, F401 - Django looks for models here
