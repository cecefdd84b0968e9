"""Conversations and their messages. A conversation belongs to one person and one department for its whole life."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models

TITLE_LENGTH = 80


class Conversation(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    department = models.ForeignKey("departments.Department", on_delete=models.PROTECT, related_name="conversations")
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="conversations")
    title = models.CharField(max_length=TITLE_LENGTH)
    scope = models.JSONField(default=dict, blank=True, help_text="What its questions are narrowed to: see scope.py.")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["-updated_at"]
        indexes = [models.Index(fields=["owner", "-updated_at"], name="conversation_by_owner")]

    def __str__(self) -> str:
        return self.title


class Message(models.Model):
    """A question, or the answer to it. An answer's text grows while the model writes."""

    class Role(models.TextChoices):
        PERSON = "person", "Person"
        ASSISTANT = "assistant", "Assistant"

    class State(models.TextChoices):
        WRITING = "writing", "Being written"
        COMPLETE = "complete", "Complete"
        STOPPED = "stopped", "Stopped"
        INTERRUPTED = "interrupted", "Broken off"
        FAILED = "failed", "Failed"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, related_name="messages")
    role = models.CharField(max_length=16, choices=Role.choices)
    text = models.TextField(blank=True)
    state = models.CharField(max_length=16, choices=State.choices, default=State.COMPLETE)
    problem = models.TextField(blank=True, help_text="The sentence shown when there is no whole answer.")
    call_id = models.UUIDField(null=True, blank=True, help_text="The call in the record that wrote this answer.")
    citations = models.JSONField(default=list, help_text="What [1], [2] … in the text point to.")
    citation_check = models.JSONField(
        null=True, blank=True, help_text="What looking at the citations found: see chatgrid/chat/citations.py."
    )
    labels = models.JSONField(
        default=list,
        db_default=models.Value([], models.JSONField()),
        help_text="What was seen in the question before it was sent.",
    )
    created_at = models.DateTimeField(auto_now_add=True)
    alive_at = models.DateTimeField(auto_now_add=True, help_text="Last sign of the process that writes this answer.")

    class Meta:
        ordering = ["created_at"]
        indexes = [
            models.Index(fields=["conversation", "created_at"], name="message_in_order"),
            models.Index(fields=["alive_at"], condition=models.Q(state="writing"), name="message_being_written"),
        ]

    def __str__(self) -> str:
        return self.text[:60]
