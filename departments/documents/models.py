"""Places that are synchronised into a department's store. Nothing of a document itself lies in the control database."""

from __future__ import annotations

import uuid
from pathlib import PurePosixPath

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models

from departments.models import Department


class DocumentSource(models.Model):
    """A folder or an S3 prefix, bound to one department. Settings say which folders and buckets there are at all."""

    class Kind(models.TextChoices):
        FOLDER = "folder", "Folder"
        BUCKET = "bucket", "S3 bucket"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    department = models.ForeignKey(Department, on_delete=models.CASCADE, related_name="sources")
    name = models.CharField(max_length=120, help_text="What people see, such as “Policies on the file server”.")
    kind = models.CharField(max_length=8, choices=Kind.choices)
    place = models.CharField(max_length=64, help_text="A name in CHATGRID_SOURCE_FOLDERS or CHATGRID_SOURCE_BUCKETS.")
    path = models.CharField(max_length=500, blank=True, help_text="A folder in it. Empty: all of it.")
    minutes = models.PositiveIntegerField(
        "minutes between two looks",
        default=60,
        validators=[MinValueValidator(5)],
        help_text="How often it is looked at.",
    )
    is_active = models.BooleanField("in use", default=True)
    created_at = models.DateTimeField(auto_now_add=True)
    next_at = models.DateTimeField(auto_now_add=True, editable=False)
    # the lease of the worker that synchronises it now
    busy_until = models.DateTimeField(null=True, editable=False)
    # files that are gone from the place and wait for a person's word; how many may be deleted without asking again
    vanished = models.PositiveIntegerField(default=0, editable=False)
    may_delete = models.PositiveIntegerField(default=0, editable=False)

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["department", "name"], name="source_name_once")]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """One place belongs to one department: neither it nor a folder in or above it may feed another."""
        self.path = clean_path(self.path)
        if self.place not in places_of(self.kind):
            known = ", ".join(places_of(self.kind)) or "none"
            raise ValidationError({"place": f"Settings name these places of this kind: {known}."})
        others = DocumentSource.objects.filter(kind=self.kind, place=self.place).exclude(pk=self.pk)
        for other in others.exclude(department_id=self.department_id):
            if _within(self.path, other.path) or _within(other.path, self.path):
                raise ValidationError({"path": "This folder, or one in or above it, already feeds another department."})


class SourceRun(models.Model):
    """One synchronisation: what it changed and what it could not take."""

    source = models.ForeignKey(DocumentSource, on_delete=models.CASCADE, related_name="runs")
    started_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True)
    seen = models.PositiveIntegerField(default=0)
    added = models.PositiveIntegerField(default=0)
    changed = models.PositiveIntegerField(default=0)
    deleted = models.PositiveIntegerField(default=0)
    failed = models.PositiveIntegerField(default=0)
    sentence = models.TextField(blank=True, help_text="Why it ended early or waits; empty if all is well.")
    problems = models.JSONField(default=list, help_text="The first files that were not taken: path and sentence.")

    class Meta:
        ordering = ["-started_at"]

    def __str__(self) -> str:
        return f"{self.source} {self.started_at:%Y-%m-%d %H:%M}"


def places_of(kind: str) -> list[str]:
    """Names of the folders or buckets that the operator has opened for synchronisation."""
    chosen = settings.SOURCE_FOLDERS if kind == DocumentSource.Kind.FOLDER else settings.SOURCE_BUCKETS
    return sorted(chosen)


def clean_path(path: str) -> str:
    """A path inside a place: relative, without steps upward. ValidationError for any other."""
    parts = [part for part in path.strip().split("/") if part]
    if any(part in {".", ".."} or "\x00" in part or "\\" in part for part in parts):
        raise ValidationError({"path": "Write a folder inside the place, such as Policies/2026, without dots."})
    return "/".join(parts)


def _within(path: str, above: str) -> bool:
    return not above or PurePosixPath(path).is_relative_to(above)
