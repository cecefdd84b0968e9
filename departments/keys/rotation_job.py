"""What a rotation's step is given and what it answers. The rules are in `rotation.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from copy import copy
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from django.conf import settings

from audit.events import Event
from departments.keys.admin_api import AdminKeyMissing, ApiKey, NewKey, Project, ServiceAccount
from departments.keys.rotation_models import Rotation
from departments.keys.secret import Secret
from departments.keys.trial import Verdict, look_admin_key
from departments.keys.vaults import Vault
from departments.keys.vaults.names import inbox_name
from departments.models import Department, Organization

Step, Mode, Result = Rotation.Step, Rotation.Mode, Rotation.Result

LIFETIME = timedelta(days=104)  # a rotation's period and two weeks: the key ends by itself when everybody forgot it
HOLD = timedelta(hours=24)  # how long a planned rotation can still be rolled back after the old key fell silent
FOREIGN_SLACK = timedelta(minutes=10)  # the provider's "last used" may lag behind our own record by this
REFUSED_FOR = timedelta(minutes=2)  # a new key may be unknown to the provider's caches for so long
FRESH_TRIAL = timedelta(minutes=10)  # a trial older than this is repeated before the key becomes current
ALARM_AFTER = timedelta(minutes=30)
REMIND_EVERY = timedelta(days=1)
MINT_TRIES = 3  # in an emergency, before a person is asked


class Admin(Protocol):
    """What a rotation needs of the Admin API."""

    def retrieve_project(self, project_id: str) -> Project: ...
    def list_keys(self, project_id: str) -> list[ApiKey]: ...
    def create_key(
        self, project_id: str, account_id: str, name: str, *, expires_in: timedelta, scopes: Sequence[str] = ()
    ) -> NewKey: ...
    def delete_key(self, project_id: str, key_id: str) -> bool: ...
    def retire_key(self, project_id: str, key_id: str) -> str: ...
    def list_service_accounts(self, project_id: str) -> list[ServiceAccount]: ...
    def create_service_account(self, project_id: str, name: str) -> ServiceAccount: ...
    def grant_role(self, project_id: str, account_id: str) -> ServiceAccount: ...
    def delete_service_account(self, project_id: str, account_id: str) -> bool: ...


@dataclass(frozen=True)
class Tools:
    """What a rotation works with; tests exchange any of it."""

    vault: Vault
    open_admin: Callable[[Organization], AbstractContextManager[Admin] | AdminKeyMissing]
    look: Callable[[Department, Secret], Verdict]
    try_out: Callable[[Department, Secret, str], Verdict]
    now: Callable[[], datetime]
    look_admin: Callable[[Secret], Verdict] = look_admin_key


@dataclass(frozen=True)
class Job:
    """One step to take. `carried` is a value made by the step before, which is nowhere else yet."""

    rotation: Rotation
    tools: Tools
    carried: NewKey | None = None

    @property
    def organization(self) -> Organization:
        return self.rotation.organization

    @property
    def department(self) -> Department:
        """The department whose secret is exchanged. The admin key has none: its steps do not ask."""
        department = self.rotation.department
        if department is None:
            raise LookupError(f"rotation {self.rotation.pk} is of no department")
        return department

    @property
    def token(self) -> str:
        return str(self.rotation.pk)

    @property
    def key_name(self) -> str:
        """The new key's name at the provider: an orphan is found by it."""
        department = self.rotation.department
        place = f"{self.organization.slug}.{department.slug if department else 'admin'}"
        return f"cg-{settings.ENVIRONMENT}-{place}-{self.token}"

    @property
    def inbox(self) -> str:
        return inbox_name(settings.ENVIRONMENT, self.rotation.pk)

    @property
    def waited(self) -> timedelta:
        return self.tools.now() - self.rotation.step_since

    def look(self, value: Secret, provider: str = "") -> Verdict:
        """What its provider says of a key of this kind: the one it was made for, also where IT has left that since."""
        if self.rotation.what == Rotation.What.ADMIN_KEY:
            return self.tools.look_admin(value)
        department = copy(self.department)
        department.provider = provider or department.provider
        return self.tools.look(department, value)


@dataclass(frozen=True, kw_only=True)
class Move:
    """The step is done. `also` runs in the transaction that says so."""

    to: str
    event: Event
    changes: Mapping[str, Any] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    not_before: datetime | None = None
    also: Callable[[], Any] | None = None
    carried: NewKey | None = None


@dataclass(frozen=True, kw_only=True)
class Pause:
    """The step is not done; it is taken again after `wait`. An `event` is written once for each pause that has one."""

    wait: timedelta
    problem: str = ""
    event: Event | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class GiveUp:
    """The new key is of no use: clear it away and leave the old one as it is."""

    reason: str


Outcome = Move | Pause | GiveUp


class NotYet(Exception):
    """Something that a step needs is away or refuses; the step is taken again. The message is for the page."""


class NotOursToDelete(Exception):
    """The key to be deleted is the one that readers get. Nothing was deleted; IT must look at the rotation."""


def backoff(tries: int, longest: float) -> timedelta:
    """1, 2, 4 … seconds, at most `longest`."""
    return timedelta(seconds=min(longest, 2.0 ** min(tries, 12)))


def drain_time() -> timedelta:
    """How long a process may use a key after a new one was announced: its cache, then the longest answer."""
    return timedelta(seconds=settings.KEY_CACHE_SECONDS + settings.ANSWER_SECONDS)
