"""Who calls, what for, and how a call can end without an answer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from django.utils import timezone
from django.utils.crypto import salted_hmac

from departments.limits.budget import Refusal


class Purpose(StrEnum):
    """What a call is for. Stored in the record and the ledger."""

    CHAT = "chat"
    SEARCH = "search"  # the embedding of a question
    INGEST = "ingest"  # the embeddings of a document
    ATTACK = "attack"  # a trial of the department's rules (departments/calls/trials.py)
    MODERATION = "moderation"  # the provider's opinion of a question


@dataclass(frozen=True)
class Caller:
    """The person in whose name a call is made; the address is empty for background work."""

    person_id: UUID
    person_name: str
    address: str = ""

    @property
    def safety_identifier(self) -> str:
        """What the provider may know of the person: a keyed hash, 64 hex characters, stable and not reversible."""
        return salted_hmac("departments.calls.safety_identifier", str(self.person_id), algorithm="sha256").hexdigest()


class CallEndedEarly(Exception):
    """There is no answer. `sentence` is for the person and holds nothing of the provider's text."""

    title = "No answer"

    def __init__(self, sentence: str, *, retry_at: datetime | None = None) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.retry_at = retry_at

    @property
    def retry_after(self) -> int | None:
        """Whole seconds until trying again makes sense, never too few; None where nobody can say."""
        if self.retry_at is None:
            return None
        return max(1, math.ceil((self.retry_at - timezone.now()).total_seconds()))


class CallRefused(CallEndedEarly):
    """A limit of ours is in the way. Nothing was sent."""

    title = "Limit reached"

    def __init__(self, sentence: str, *, refusal: Refusal | None = None) -> None:
        super().__init__(sentence, retry_at=refusal.resets_at if refusal else None)
        self.refusal = refusal


class CallFailed(CallEndedEarly):
    """The provider, the key or a service of ours is in the way. `reason` is a word for the record and the operator."""

    def __init__(self, sentence: str, *, reason: str, retry_at: datetime | None = None) -> None:
        super().__init__(sentence, retry_at=retry_at)
        self.reason = reason
