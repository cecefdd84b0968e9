"""What of a question the record keeps, by the department's policy: all of it, a redacted text, or a keyed hash.

- The text lies apart from its event and can be erased; the event holds its salted hash and goes on to verify.
- A keyed hash is HMAC-SHA256 with a key of the department in the secret manager (the pepper): whoever has the record
  cannot try questions against it, and whoever may search hashes the searched question with `known_digest_of`. Case,
  spacing and Unicode forms do not matter to it.
- Where the policy cannot be followed there is no call: a text that should not be kept is never kept instead.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import secrets
import unicodedata
from dataclasses import dataclass
from hashlib import sha256
from uuid import uuid4

from celery import current_app
from django.conf import settings
from kombu.exceptions import OperationalError

from audit.writer import KeptText
from departments.calls.personal_data import redact
from departments.keys.reader import current_vault, secret_cache
from departments.keys.secret import Secret
from departments.keys.vaults import SecretMissing, StaleExpectation
from departments.keys.vaults.names import pepper_name
from departments.models import Department, QueryPolicy

KEYED = "hmac-sha256:"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class KeptQuery:
    """The text to keep, if any, or the keyed hash in its place."""

    text: KeptText | None = None
    digest: str = ""


async def keep(department: Department, question: str) -> KeptQuery:
    """What the record gets of this question. Raises VaultError where a hash is wanted and its key cannot be read."""
    match department.query_policy:
        case QueryPolicy.FULL:
            return KeptQuery(KeptText.of(question))
        case QueryPolicy.REDACTED:
            return KeptQuery(KeptText.of(redact(question)))
        case _:
            return KeptQuery(digest=await digest_of(department, question))


async def digest_of(department: Department, question: str) -> str:
    """The keyed hash of this question, to be kept. Raises SecretMissing where there is no key yet, and asks for one."""
    try:
        return await known_digest_of(department, question)
    except SecretMissing:
        await asyncio.to_thread(_ask_for_pepper, department)
        raise


async def known_digest_of(department: Department, question: str) -> str:
    """The keyed hash under which this question would stand in the record; SecretMissing where none can be."""
    version = await secret_cache().get(secret_name(department), 0)
    key = bytes.fromhex(json.loads(version.value.reveal())["pepper"])
    return KEYED + hmac.new(key, _normal(question).encode(), sha256).hexdigest()


def _ask_for_pepper(department: Department) -> None:
    """The web reads secrets and writes none: the rotator makes it, and the next question finds it."""
    try:
        current_app.send_task("departments.tasks.make_pepper", (str(department.pk),), retry=False)
    except (OSError, OperationalError) as error:
        logger.error("nobody was asked for the pepper of department %s: %s", department.pk, type(error).__name__)


def make_pepper(department: Department) -> None:
    """The department's pepper, if it has none yet: made once and never changed, or older hashes could not be found.

    For the rotator's queue and for commands: the web may not write secrets.
    """
    vault, name, token = current_vault(), secret_name(department), str(uuid4())
    try:
        if vault.describe(name).current is not None:
            return
    except SecretMissing:
        pass  # the rest makes it
    vault.stage(name, token, Secret(json.dumps({"v": 1, "pepper": secrets.token_hex(32)})))
    try:
        vault.promote(name, token, None)
    except StaleExpectation:
        pass  # another process was first, and its pepper counts
    vault.drop_stage(name, token)


def secret_name(department: Department) -> str:
    return pepper_name(settings.ENVIRONMENT, f"{department.organization.slug}.{department.slug}")


def _normal(question: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", question).casefold().split())
