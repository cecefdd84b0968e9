"""OpenAI's Admin API: projects, service accounts, keys, limits, usage. For the rotator's queue and for commands.

Rules:
- Whatever creates something is sent once (`max_retries=0`): the SDK sends no idempotency key, and its retry after a cut
  connection would make a second key. `AdminApiError.maybe_done` tells the caller to look before trying again.
- Reads and deletions are retried by the SDK twice; a deletion that finds nothing is done.
- Base URL, key, organization and project are passed here; nothing is read from the environment.
- Errors are ours (admin_errors.py); values are ours (admin_values.py); a key's value travels as `Secret` only.
- Lists are read to their end, a hundred at a time.
- One class, put together from rooms: admin_projects.py (projects, accounts, keys), admin_fences.py, admin_reports.py.

Facts about the calls: OpenAI's SDK 3.54 and its API reference, collected in docs/provider.md.
"""

from __future__ import annotations

from datetime import timedelta
from types import TracebackType

import httpx2
from django.conf import settings
from openai import DefaultHttpx2Client, OpenAI

from departments.keys.admin_calls import PAGE, converted, deleted, every, said
from departments.keys.admin_errors import (
    AdminApiError,
    AdminForbidden,
    AdminKeyRefused,
    AdminMissing,
    AdminRejected,
    AdminUnavailable,
    AdminUnreadable,
    KeyDeletionRefused,
)
from departments.keys.admin_fences import FenceCalls
from departments.keys.admin_key import AdminKeyMissing, has_admin_key, read_admin_key, store_admin_key
from departments.keys.admin_projects import ProjectCalls
from departments.keys.admin_reports import ReportCalls
from departments.keys.admin_values import (
    AdminKey,
    ApiKey,
    Cost,
    LogEvent,
    ModelPermissions,
    NewKey,
    Project,
    RateLimit,
    ServiceAccount,
    SpendAlert,
    SpendLimit,
    Usage,
    admin_key_of,
    new_key_of,
    project_of,
)
from departments.keys.client import NO_PROXY_IN_CLEAR, Provider, provider_named, refuse_environment
from departments.keys.secret import Secret
from departments.models import Department, Organization

__all__ = [
    "AdminApi",
    "AdminApiError",
    "AdminForbidden",
    "AdminKey",
    "AdminKeyMissing",
    "AdminKeyRefused",
    "AdminMissing",
    "AdminRejected",
    "AdminUnavailable",
    "AdminUnreadable",
    "ApiKey",
    "Cost",
    "KeyDeletionRefused",
    "LogEvent",
    "ModelPermissions",
    "NewKey",
    "Project",
    "RateLimit",
    "ServiceAccount",
    "SpendAlert",
    "SpendLimit",
    "Usage",
    "has_admin_api",
    "has_admin_api_for",
    "has_admin_key",
    "open_admin_api",
    "openai_base_url",
    "provider_of",
    "store_admin_key",
]

RETRIES = 2
TIMEOUT = httpx2.Timeout(connect=5, write=10, pool=5, read=30)


def provider_of(department: Department) -> Provider:
    """Where the department's calls go."""
    return provider_named(department.provider)


def has_admin_api(provider: Provider) -> bool:
    """Only OpenAI itself has one; Azure and compatible servers are looked after elsewhere."""
    return provider.kind == "openai"


def has_admin_api_for(department: Department) -> bool:
    """Whether the department's provider has one. Not a provider that settings name no longer."""
    return department.provider in settings.PROVIDERS and has_admin_api(provider_of(department))


def open_admin_api(organization: Organization, provider: Provider | None = None) -> AdminApi | AdminKeyMissing:
    """The Admin API with this organization's admin key, to be used in a `with`; or why there is none.

    Raises a VaultError where the secret manager does not give the key.
    """
    key = read_admin_key(organization)
    if isinstance(key, AdminKeyMissing):
        return key
    return AdminApi(key, (provider or _openai()).base_url)


def openai_base_url() -> str:
    """Where OpenAI itself is; StopIteration where settings name no provider of that kind."""
    return _openai().base_url


def _openai() -> Provider:
    name = next(name for name, entry in settings.PROVIDERS.items() if entry["kind"] == "openai")
    return provider_named(name)


class AdminApi(ProjectCalls, FenceCalls, ReportCalls):
    """One organization at OpenAI. Holds connections: use it in a `with`, in one thread."""

    def __init__(self, key: Secret, base_url: str) -> None:
        refuse_environment()
        self._once = OpenAI(
            api_key="none",  # the SDK wants one; it is never sent on admin calls
            admin_api_key=key.reveal(),
            base_url=base_url,
            max_retries=0,
            http_client=DefaultHttpx2Client(follow_redirects=False, mounts=NO_PROXY_IN_CLEAR, timeout=TIMEOUT),
        )
        self._patient = self._once.with_options(max_retries=RETRIES)

    def __enter__(self) -> AdminApi:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._once.close()

    # -- admin keys

    def create_admin_key(self, name: str, *, expires_in: timedelta) -> NewKey:
        return said(
            "create the admin key",
            lambda: new_key_of(
                self._writes.admin_api_keys.create(name=name, expires_in_seconds=int(expires_in.total_seconds()))
            ),
        )

    def list_admin_keys(self) -> list[AdminKey]:
        return said(
            "list the admin keys",
            lambda: every(self._reads.admin_api_keys.list(limit=PAGE), admin_key_of),
        )

    def delete_admin_key(self, key_id: str) -> bool:
        return deleted("delete the admin key", lambda: self._reads.admin_api_keys.delete(key_id))

    def verify(self) -> None:
        """Returns when the key works; raises AdminKeyRefused, or what else is in the way."""
        said("check the admin key", lambda: converted(self._reads.projects.list(limit=1), project_of))
