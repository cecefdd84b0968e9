"""What tests of rotation share: a provider in memory with its Admin API, a clock to turn, a department to rotate."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from audit.events import Event
from audit.models import AuditEvent
from departments.keys import rotation as rotating
from departments.keys.admin_api import (
    AdminApiError,
    AdminKeyMissing,
    AdminMissing,
    AdminRejected,
    ApiKey,
    NewKey,
    Project,
    ServiceAccount,
)
from departments.keys.admin_key import admin_key_document, admin_key_secret, note_admin_key
from departments.keys.models import ProviderProject
from departments.keys.reader import KeyOrigin, key_document, key_name, note_provider_key
from departments.keys.rotation_job import Tools
from departments.keys.rotation_models import Rotation
from departments.keys.rotation_subjects import admin_key_of
from departments.keys.secret import Secret
from departments.keys.trial import Verdict
from departments.keys.vaults import Vault
from departments.models import Department, Organization
from tests.company import make_key

PROJECT = "proj_1"


@dataclass
class Clock:
    """Time that passes when it is told to. It begins at the real time, because the database has its own clock."""

    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def now(self) -> datetime:
        return self.at

    def turn(self, **by: float) -> None:
        self.at += timedelta(**by)


class Ahead:
    """A clock that goes as the real one does, and can be put forward: for what real servers must agree with."""

    by = timedelta(0)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.by

    def reach(self, moment: datetime) -> None:
        self.by = max(self.by, moment - datetime.now(UTC) + timedelta(seconds=1))


class Killed(BaseException):
    """The end of a process: nothing of ours runs after it."""


Point = tuple[str, str]
"""A step, and "before" or "after" what it does."""


@dataclass
class Killer:
    """Kills at the given points, one after the other."""

    points: list[Point] = field(default_factory=list)
    struck: int = 0

    def at(self, point: Point) -> None:
        if self.points and self.points[0] == point:
            self.points.pop(0)
            self.struck += 1
            raise Killed

    def around(self, step: str, act: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def acting(job: Any) -> Any:
            self.at((step, "before"))
            outcome = act(job)
            self.at((step, "after"))
            return outcome

        return acting


def both_sides(steps: Iterable[str]) -> list[Point]:
    return [(str(step), side) for step in steps for side in ("before", "after")]


def pairs_from(first: Point, points: Sequence[Point], again: Sequence[Point] = ()) -> list[tuple[Point, Point]]:
    """Every second point that a worker comes to after it was killed at the first, which it begins with again.

    `again` names points of earlier steps that are taken again then.
    """
    step = next(number for number, point in enumerate(points) if point[0] == first[0])
    return [(first, second) for second in [*again, *points[step:]]]


def run(rotation: Rotation, until: str = "closed", look: Callable[[], bool] = lambda: True) -> Rotation:
    """Workers with the real tools until it is closed, or at a step; one that is killed leaves a claim, which ends.

    `look` must be true whenever a worker has let go.
    """
    clock = Ahead()
    for _ in range(120):
        try:
            rotating.advance(rotation.pk, replace(rotating.default_tools(), now=clock.now))
        except Killed:
            pass
        rotation.refresh_from_db()
        assert look(), f"not at {rotation.step}"
        if rotation.step == until:
            return rotation
        assert rotation.closed_at is None, f"it has not waited at {until}"
        clock.reach(max(filter(None, (rotation.not_before, rotation.claimed_until, datetime.now(UTC)))))
    raise AssertionError(f"{rotation.step}: {rotation.problem}")


@dataclass
class MemoryProvider:
    """One project at a provider: its accounts and keys, and what it was told to refuse."""

    clock: Clock
    accounts: dict[str, ServiceAccount] = field(default_factory=dict)
    live: dict[str, tuple[ApiKey, Secret]] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)  # what the next trials say, whatever the key
    failing: AdminApiError | None = None
    has_admin_key: bool = True
    deletes_keys: bool = True
    before_deletion: list[object] = field(default_factory=list)
    closed: set[str] = field(default_factory=set)  # projects that somebody has archived there
    gone: set[str] = field(default_factory=set)  # and deleted
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    # -- the Admin API

    @contextmanager
    def _opened(self) -> Iterator[MemoryProvider]:
        yield self

    def open_admin(self, organization: Organization) -> object:
        return self._opened() if self.has_admin_key else AdminKeyMissing(organization.name)

    def _answer(self) -> None:
        if self.failing is not None:
            raise self.failing

    def retrieve_project(self, project_id: str) -> Project:
        self._answer()
        self._require_there(project_id)
        return Project(project_id, "hr", project_id not in self.closed, self.clock.now(), None)

    def _require_there(self, project_id: str) -> None:
        if project_id in self.gone:
            raise AdminMissing("OpenAI has nothing by that id")

    def list_keys(self, project_id: str) -> list[ApiKey]:
        self._answer()
        self._require_there(project_id)
        return [key for key, _ in self.live.values()]

    def list_service_accounts(self, project_id: str) -> list[ServiceAccount]:
        self._answer()
        return list(self.accounts.values())

    def create_service_account(self, project_id: str, name: str) -> ServiceAccount:
        self._answer()
        account = ServiceAccount(f"svc_{next(self._numbers)}", name, "none", self.clock.now())
        self.accounts[account.id] = account
        return account

    def grant_role(self, project_id: str, account_id: str) -> ServiceAccount:
        self.accounts[account_id] = replace(self.accounts[account_id], role="member")
        return self.accounts[account_id]

    def create_key(
        self, project_id: str, account_id: str, name: str, *, expires_in: timedelta, scopes: Sequence[str] = ()
    ) -> NewKey:
        self._answer()
        assert project_id not in self.closed | self.gone
        return self.add(account_id, name, self.clock.now() + expires_in)

    def delete_key(self, project_id: str, key_id: str) -> bool:
        self._answer()
        if not self.deletes_keys and key_id in self.live:
            raise AdminRejected("not alone")
        return self._end(key_id)

    def retire_key(self, project_id: str, key_id: str) -> str:
        return "key" if self.delete_key(project_id, key_id) else "gone"

    def create_admin_key(self, name: str, *, expires_in: timedelta) -> NewKey:
        self._answer()
        return self.add("", name, self.clock.now() + expires_in)

    def list_admin_keys(self) -> list[ApiKey]:
        return self.list_keys("")

    def delete_admin_key(self, key_id: str) -> bool:
        return self.delete_key("", key_id)

    def delete_service_account(self, project_id: str, account_id: str) -> bool:
        self._answer()
        for key_id in [key.id for key, _ in self.live.values() if key.owner_id == account_id]:
            self._end(key_id)
        return self.accounts.pop(account_id, None) is not None

    # -- the models

    def look_admin(self, key: Secret) -> Verdict:
        return Verdict.ALIVE if any(value == key for _, value in self.live.values()) else Verdict.DEAD

    def look(self, department: Department, key: Secret) -> Verdict:
        return self.verdicts.pop(0) if self.verdicts else self.look_admin(key)

    def try_out(self, department: Department, key: Secret, version: str) -> Verdict:
        return self.look(department, key)

    # -- what a test does to it

    def add(self, account_id: str, name: str, expires_at: datetime | None, value: Secret | None = None) -> NewKey:
        key_id, value = f"key_{next(self._numbers)}", value or make_key()
        tail = value.reveal()[-4:]
        listed = ApiKey(
            key_id, name, "service_account", account_id, True, self.clock.now(), None, expires_at, _tail=tail
        )
        self.live[key_id] = (listed, value)
        return NewKey(key_id, name, value, self.clock.now(), expires_at)

    def close_project(self, project_id: str, *, deleted: bool = False) -> None:
        """Somebody closes or deletes the project by hand: its keys and accounts end with it."""
        (self.gone if deleted else self.closed).add(project_id)
        self.live.clear()
        self.accounts.clear()

    def used(self, key_id: str) -> None:
        key, value = self.live[key_id]
        self.live[key_id] = (replace(key, last_used_at=self.clock.now()), value)

    def _end(self, key_id: str) -> bool:
        for look in self.before_deletion:
            look(key_id)  # type: ignore[operator]
        if key_id not in self.live:
            return False
        del self.live[key_id]
        self.deleted.append(key_id)
        return True


@dataclass
class Stage:
    """A department whose key is in `vault` and alive at `provider`."""

    department: Department
    vault: Vault
    provider: MemoryProvider
    clock: Clock
    first_key: str = ""

    @property
    def tools(self) -> Tools:
        provider = self.provider
        looks = provider.look, provider.try_out, self.clock.now, provider.look_admin
        return Tools(self.vault, provider.open_admin, *looks)  # type: ignore[arg-type]

    @property
    def name(self) -> str:
        return key_name(self.department)

    def install(self, *, made_by_us: bool = True) -> None:
        """The first key: made through the Admin API, or pasted, so that nothing but its value is known."""
        account = self.provider.create_service_account(PROJECT, "chatgrid")
        key = self.provider.add(account.id, "first", None)
        self.first_key = key.id
        origin = KeyOrigin(key.id, PROJECT, account.id) if made_by_us else None
        version = str(uuid.uuid4())
        self.vault.stage(
            self.name, version, key_document(key.value, version, origin, provider=self.department.provider)
        )
        self.vault.promote(self.name, version, None)
        self.vault.drop_stage(self.name, version)
        note_provider_key(self.department, key.value, version, origin)
        self.department.refresh_from_db()

    def start(self, trigger: str = "button", **options: object) -> Rotation:
        return rotating.start(self.department, trigger, **options)  # type: ignore[arg-type]

    def step(self, rotation: Rotation) -> Rotation:
        """One go of a worker."""
        rotating.advance(rotation.pk, self.tools)
        rotation.refresh_from_db()
        return rotation

    def run(self, rotation: Rotation, most: int = 60) -> Rotation:
        """Workers until the rotation is closed, the clock turned to whenever it wants to be looked at again."""
        for _ in range(most):
            self.step(rotation)
            if rotation.closed_at:
                return rotation
            wake = max(filter(None, (rotation.not_before, rotation.claimed_until, self.clock.now())))
            self.clock.at = wake + timedelta(seconds=1)
        raise AssertionError(f"the rotation does not end: {rotation.step}, {rotation.problem}")

    def run_to(self, rotation: Rotation, step: str) -> Rotation:
        for _ in range(60):
            if rotation.step == step:
                return rotation
            self.step(rotation)
            if rotation.step != step and rotation.not_before:
                self.clock.at = rotation.not_before + timedelta(seconds=1)
        raise AssertionError(f"never at {step}: {rotation.step}, {rotation.problem}")

    def current_is_alive(self) -> bool:
        return self.provider.look_admin(self.current_key()) is Verdict.ALIVE

    def current_key(self) -> Secret:
        import json

        return Secret(json.loads(self.vault.get_current(self.name).value.reveal())["api_key"])

    def story(self, rotation: Rotation) -> list[str]:
        """The record of a rotation, in order."""
        found = AuditEvent.objects.filter(subject_kind="rotation", subject_id=str(rotation.pk)).order_by("at")
        return [Event(event).name.removeprefix("ROTATION_").lower() for event in found.values_list("event", flat=True)]


class AdminStage(Stage):
    """An organization whose admin key is in `vault` and alive at `provider`."""

    @property
    def name(self) -> str:
        return admin_key_secret(self.department.organization)

    def install(self, *, made_by_us: bool = True) -> None:
        key, version = self.provider.add("", "first", None), str(uuid.uuid4())
        self.first_key = key.id
        self.vault.stage(self.name, version, admin_key_document(key.value, key.id))
        self.vault.promote(self.name, version, None)
        self.vault.drop_stage(self.name, version)
        note_admin_key(self.department.organization, key.value, version, key_id=key.id)

    def start(self, trigger: str = "button", **options: object) -> Rotation:
        return rotating.start(admin_key_of(self.department.organization), trigger, **options)  # type: ignore[arg-type]


def in_project(stage: Stage) -> None:
    """Provisioning knows the department's project at the provider. Every test has the same one."""
    ProviderProject.objects.filter(project_id=PROJECT).delete()
    ProviderProject.objects.create(
        department=stage.department, name=str(uuid.uuid4()), project_id=PROJECT, service_account_id="svc_1"
    )
