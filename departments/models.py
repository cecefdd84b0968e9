"""Organizations, their departments and who belongs to them."""

from __future__ import annotations

import secrets
import uuid
from typing import Any
from zoneinfo import available_timezones

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import DataError, connection, models, transaction

from departments.roles import DepartmentRole


def validate_time_zone(name: str) -> None:
    """Pages and the ledger must both know it: with one that only Python knows ("localtime") every call would fail."""
    if name not in available_timezones() or not _is_known_to_the_database(name):
        raise ValidationError(f"{name} is not a time zone. Write one such as Europe/Berlin.")


def _is_known_to_the_database(time_zone: str) -> bool:
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT now() AT TIME ZONE %s", [time_zone])
    except DataError:
        return False
    return True


def new_store_name() -> str:
    """An opaque database name: every role can list the names of all databases, so a name must tell nothing."""
    return f"cg_{secrets.token_hex(8)}"


def default_provider() -> str:
    return next(iter(settings.PROVIDERS))


def default_chat_model() -> str:
    return str(settings.CHAT_MODEL)


class QueryPolicy(models.TextChoices):
    """What of a question the record keeps. The conversation itself is its owner's and has its own retention."""

    FULL = "full", "The whole text"
    REDACTED = "redacted", "The text without e-mail addresses, phone, account and card numbers"
    HASHED = "hashed", "A keyed hash only, by which a known question can be found"


class SecondFactor(models.TextChoices):
    """Who must have a second factor, from nobody to everybody: each holds more than the one before it."""

    OFF = "off", "Nobody has to"
    PRIVILEGED = "privileged", "IT, auditors and department admins"
    EVERYBODY = "everybody", "Everybody"


class Organization(models.Model):
    """A company. A fresh install has one, and its people never see the word."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    slug = models.SlugField("short name", unique=True)
    name = models.CharField(max_length=120)
    time_zone = models.CharField(
        max_length=64,
        default="UTC",
        validators=[validate_time_zone],
        help_text="At midnight there a new day begins, and with it the budgets of the day and the month.",
    )
    conversation_days = models.PositiveIntegerField(
        "days a conversation is kept",
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="Counted from its last question; then it is deleted. Empty: kept without an end.",
    )
    admins_paste_keys = models.BooleanField(
        "department admins paste keys",
        default=False,
        help_text="Whether the admins of a department may store its key; IT always may.",
    )
    second_factor = models.CharField(
        "second factor",
        max_length=16,
        choices=SecondFactor.choices,
        default=SecondFactor.OFF,
        help_text="Who must have one. Without it, what their role opens stays closed to them.",
    )
    created_at = models.DateTimeField("added on", auto_now_add=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class StoreServer(models.Model):
    """A PostgreSQL server on which departments' stores live. None: the control database's own server."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="store_servers")
    name = models.CharField(max_length=120)
    host = models.CharField(max_length=255)
    port = models.PositiveIntegerField(default=5432)

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["organization", "name"], name="store_server_name_once")]

    def __str__(self) -> str:
        return self.name


class TypedSecrets(models.TextChoices):
    """What happens to a question that looks as if it held a key, a card number or another secret."""

    WARN = "warn", "Ask the person before it is sent"
    BLOCK = "block", "Do not send it"
    REDACT = "redact", "Take the secret out and send the rest"


class DocumentReview(models.TextChoices):
    """Whether a document has to be looked at by a person before the chat answers from it."""

    OFF = "off", "Search every document as soon as it is read"
    LABELLED = "labelled", "Hold documents that read like orders to the assistant until somebody has looked"


class Moderation(models.TextChoices):
    """Whether the provider's moderation is asked about a question before it is answered, and what its answer does."""

    OFF = "off", "Do not ask the provider's moderation"
    LABEL = "label", "Ask, and label what it flags; a question goes on also where it cannot be asked"
    BLOCK = "block", "Ask, and do not send what it flags or what it cannot be asked about"


class Department(models.Model):
    """A department: one store, one key, one budget, one set of rules for the assistant."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="departments")
    slug = models.SlugField("short name", help_text="Part of the address, such as /d/finance/.")
    name = models.CharField(max_length=120)
    instructions = models.TextField(
        "what the assistant is for",
        blank=True,
        max_length=8000,
        help_text="And how it should answer. Never put a secret here.",
    )
    off_limits = models.TextField(
        "what it must not discuss",
        blank=True,
        max_length=4000,
        help_text="One subject a line. The assistant says that it does not discuss it, and nothing else.",
    )
    rules_public = models.BooleanField(
        "members may read these rules",
        default=False,
        help_text="Otherwise an answer that begins to repeat them is cut off.",
    )
    typed_secrets = models.CharField(
        "secrets in questions",
        max_length=8,
        choices=TypedSecrets.choices,
        default=TypedSecrets.WARN,
        help_text="What happens to a question that looks as if it held a key, a card number or another secret.",
    )
    document_review = models.CharField(
        "review of documents",
        max_length=16,
        choices=DocumentReview.choices,
        default=DocumentReview.OFF,
        help_text="Holds for documents that are read from now on.",
    )
    moderation = models.CharField(
        max_length=8,
        choices=Moderation.choices,
        default=Moderation.OFF,
        help_text="The provider's own check for harmful content. It sends each question once more, and costs nothing.",
    )
    query_policy = models.CharField(
        max_length=16,
        choices=QueryPolicy.choices,
        default=QueryPolicy.FULL,
        help_text="What of a question the record keeps.",
    )
    is_active = models.BooleanField("open", default=True, help_text="Closed: nobody in it can ask any more.")
    paused_at = models.DateTimeField(null=True, blank=True, editable=False, help_text="No call is made meanwhile.")
    pause_reason = models.CharField(max_length=200, blank=True, editable=False, help_text="What its people are told.")
    created_at = models.DateTimeField(auto_now_add=True)

    provider = models.CharField(max_length=64, default=default_provider, help_text="A name in CHATGRID_PROVIDERS.")
    model = models.CharField(max_length=120, default=default_chat_model)
    key_epoch = models.PositiveIntegerField(default=1, editable=False, help_text="Rises with every rotation.")

    store_name = models.CharField(max_length=63, unique=True, default=new_store_name, editable=False)
    store_server = models.ForeignKey(StoreServer, on_delete=models.PROTECT, null=True, blank=True)
    store_ready = models.BooleanField(default=False, editable=False)
    store_epoch = models.PositiveIntegerField(
        default=1, editable=False, help_text="Rises with every exchange of the store's password."
    )
    store_password_at = models.DateTimeField(null=True, editable=False, help_text="When the password became current.")
    store_failure = models.CharField(max_length=400, blank=True, editable=False, help_text="Why it was not made yet.")
    files_allowed = models.PositiveIntegerField(
        "files at most",
        null=True,
        blank=True,
        help_text="Older versions of a document count. Empty: what the settings of this installation say.",
    )
    bytes_allowed = models.PositiveBigIntegerField(
        "bytes at most",
        null=True,
        blank=True,
        help_text="All of them together. Empty: what the settings of this installation say.",
    )

    members = models.ManyToManyField(settings.AUTH_USER_MODEL, through="Membership", related_name="departments")

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["organization", "slug"], name="department_slug_once")]

    def __str__(self) -> str:
        return self.name

    @property
    def in_record(self) -> dict[str, Any]:
        """The fields of an audit entry that say where it belongs: the company and this department, with their names."""
        return {
            "organization_id": self.organization_id,
            "organization_name": self.organization.name,
            "department_id": self.pk,
            "department_name": self.name,
        }

    def clean(self) -> None:
        if self.provider not in settings.PROVIDERS:
            raise ValidationError({"provider": f"Choose one of: {', '.join(settings.PROVIDERS)}."})


class Membership(models.Model):
    """A person's role in one department."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships", verbose_name="person"
    )
    department = models.ForeignKey(Department, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=16, choices=DepartmentRole.choices, default=DepartmentRole.MEMBER)
    created_at = models.DateTimeField("since", auto_now_add=True)

    class Meta:
        ordering = ["department__name"]
        constraints = [models.UniqueConstraint(fields=["user", "department"], name="membership_once")]

    def __str__(self) -> str:
        return f"{self.user} in {self.department}"

    def clean(self) -> None:
        if self.user_id and self.department_id and self.user.organization_id != self.department.organization_id:
            raise ValidationError("The person and the department belong to different organizations.")
