"""The key of a call: read for it, read again when the provider refuses it, and marked when it is refused for good."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg

from audit.database import DatabaseDown, connection
from departments.access import apause_reason
from departments.calls import sentences
from departments.calls.booking import needs_the_record, record_not_made
from departments.calls.caller import Caller, CallFailed, Purpose
from departments.keys.client import Provider, provider_named
from departments.keys.models import KeyReference
from departments.keys.reader import ProviderKey, forget_provider_key, read_provider_key
from departments.keys.vaults import SecretMissing, VaultError
from departments.models import Department

# only the version that was refused: a rotation may have put another one in its place meanwhile
_MARK = (
    "UPDATE keys_keyreference SET state = %s, changed_at = clock_timestamp() WHERE department_id = %s AND version = %s"
)

logger = logging.getLogger(__name__)


async def resolve(department: Department, caller: Caller, purpose: Purpose) -> tuple[Provider, ProviderKey]:
    """The department's provider and its own key there, for a call that nobody's standing was asked for.

    So this is where a pause holds for it: asked of the database, because background work carries its department along
    for minutes. Raises CallFailed, and records that no call was made.
    """
    async with _recorded_if_not(department, caller, purpose):
        await _refuse_pause(department)
    return await read(department, caller, purpose)


async def read(department: Department, caller: Caller, purpose: Purpose) -> tuple[Provider, ProviderKey]:
    """The same where it is known that the department goes on."""
    async with _recorded_if_not(department, caller, purpose):
        return _provider_of(department), await read_key(department)


async def read_key(department: Department) -> ProviderKey:
    """The department's own key, of its own secret. Raises CallFailed with who can help."""
    try:
        async with needs_the_record():  # a read that cannot be recorded does not happen either
            return await read_provider_key(department)
    except SecretMissing:
        raise CallFailed(sentences.NO_KEY, reason="no_key") from None
    except VaultError as error:
        logger.error("key of department %s cannot be read: %s", department.pk, error)
        raise CallFailed(sentences.VAULT_DOWN, reason="secret_manager_unavailable") from None
    except (ValueError, KeyError, TypeError):
        # the secret is not what ChatGrid stores; the error itself may hold the value
        logger.error("the secret of department %s has no api_key in it: store the key again", department.pk)
        raise CallFailed(sentences.NO_KEY, reason="key_unreadable") from None


async def read_key_again(department: Department) -> ProviderKey:
    """The key as the secret manager has it now. Raises CallFailed."""
    forget_provider_key(department)
    return await read_key(department)


async def mark_refused(department: Department, key: ProviderKey) -> None:
    """The provider refuses the key that the secret manager holds: IT sees it in the log and in the console."""
    logger.error(
        "the provider refuses the key of department %s (fingerprint %s): store a new one in the console, under Keys",
        department.pk,
        key.fingerprint,
    )
    try:
        async with connection() as held:
            await held.execute(_MARK, [KeyReference.State.BROKEN, department.pk, key.version])
    except (DatabaseDown, psycopg.Error):
        logger.error("key of department %s not marked as refused: the database fails", department.pk)


@asynccontextmanager
async def _recorded_if_not(department: Department, caller: Caller, purpose: Purpose) -> AsyncIterator[None]:
    """Where the block fails no call is made, which is an event of its own."""
    try:
        yield
    except CallFailed as failure:
        if failure.reason != "record_unavailable":
            await record_not_made(department, caller, purpose, failure.reason)
        raise


async def _refuse_pause(department: Department) -> None:
    async with needs_the_record():
        reason = await apause_reason(department.pk)
    if reason is not None:
        raise CallFailed(sentences.paused(reason), reason="paused")


def _provider_of(department: Department) -> Provider:
    try:
        return provider_named(department.provider)
    except KeyError:
        logger.error("provider %r of department %s is not in CHATGRID_PROVIDERS", department.provider, department.pk)
        raise CallFailed(sentences.PROVIDER_UNKNOWN, reason="provider_unknown") from None
