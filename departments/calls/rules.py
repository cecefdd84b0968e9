"""Changing what a department's assistant is told, and showing exactly what would be sent with it.

Rules:
- A change is written with its event, in one transaction: who, which fields, and what they are now.
- Whoever saves says which rules they saw (`digest_of`): what somebody else wrote meanwhile is never overwritten.
- Rules are sent with every question, so nothing that looks like a secret is accepted in them.
- The preview is made by the same functions as a call: the body of the request, to the last field. Only two things in it
  are not shown: the canary, which nobody may see, and the key, which is in no body.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.db import transaction

from audit.events import Event
from audit.writer import Entry, record
from departments.calls.run import Ask, canary, prompt_of, rules_of
from departments.calls.typed import find_secrets
from departments.calls.wire import chat_body
from departments.http import Person
from departments.keys.client import provider_named
from departments.models import Department

FIELDS = ("instructions", "off_limits", "rules_public", "typed_secrets", "document_review", "moderation")
TEXTS = ("instructions", "off_limits")
NOT_SHOWN = "(a reference of the department's own, which nobody is shown)"


class ChangedMeanwhile(Exception):
    """Somebody else saved other rules after these were read."""

    sentence = "Somebody else has changed these rules meanwhile. Look at what stands there now, then write yours again."


class SecretInRules(Exception):
    """A text looks as if it held a secret. `field` says which, `sentence` what and what to do."""

    def __init__(self, field: str, kind: str) -> None:
        self.field = field
        self.sentence = f"This looks as if it held a {kind}. Rules are sent with every question: take it out."
        super().__init__(self.sentence)


def digest_of(department: Department) -> str:
    """Which rules these are, 64 hex characters."""
    values = {name: getattr(department, name) for name in FIELDS}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def change_rules(
    department: Department, person: Person, values: Mapping[str, Any], *, seen: str, address: str = ""
) -> list[str]:
    """The names of the fields that changed. Raises ChangedMeanwhile or SecretInRules; then nothing did."""
    for name in TEXTS:
        if found := find_secrets(str(values[name])):
            raise SecretInRules(name, found[0].kind)
    with transaction.atomic():
        present = Department.objects.select_for_update().select_related("organization").get(pk=department.pk)
        if digest_of(present) != seen:
            raise ChangedMeanwhile
        changed = [name for name in FIELDS if getattr(present, name) != values[name]]
        for name in changed:
            setattr(present, name, values[name])
        if changed:
            present.save(update_fields=changed)
            record(_entry(present, person, changed, address))
    return changed


def request_of(ask: Ask) -> dict[str, Any]:
    """The request that would be sent for a question: `method`, `address`, and `body` as it is before it becomes JSON.

    Raises KeyError where the department's provider is not set up.
    """
    provider = provider_named(ask.department.provider)
    messages = [
        message | {"content": message["content"].replace(canary(ask.department), NOT_SHOWN)}
        for message in prompt_of(ask, ask.history).messages
    ]
    body = chat_body(provider, ask.department, ask.caller, messages, settings.ANSWER_TOKENS)
    return {"method": "POST", "address": f"{provider.base_url.rstrip('/')}/chat/completions", "body": body}


def _entry(department: Department, person: Person, changed: list[str], address: str) -> Entry:
    return Entry(
        event=Event.RULES_CHANGED,
        **department.in_record,
        actor_id=person.id,
        actor_name=person.name,
        client_address=address,
        subject_kind="department",
        subject_id=str(department.pk),
        details={
            "changed": changed,
            "now": {name: getattr(department, name) for name in changed},
            "rules": hashlib.sha256(rules_of(department).encode()).hexdigest(),
        },
    )
