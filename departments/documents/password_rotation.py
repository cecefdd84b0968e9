"""How the password of a department's store is exchanged: by the machine of departments/keys/rotation.py.

PLAN -> STAGE -> MINT -> VERIFY -> PROMOTE -> UNSTAGE -> ANNOUNCE -> DRAIN -> RETIRE -> PROVE -> CLOSED

Rules:
- The new password is made up here and is in the secret manager before the server hears of it: nothing can be lost, and
  a repeated step uses the same one.
- It belongs to the store's other login role (logins.py), so the old one works until nobody needs it.
- Drained means: no process can have it cached any more, and no session of its role is left; after `LONGEST_SESSION` the
  sessions that are left are ended. In an emergency only a statement under way is waited for, a moment.
- Dead is proven by knocking with the old password.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import psycopg
from django.db.models import F
from psycopg import Connection

from audit.events import Event
from departments.documents.credentials import Credential, parse_credential, with_password
from departments.documents.logins import end_sessions, let_in, let_leave, other_login, sessions_of, shut_out
from departments.documents.provision import ProvisioningImpossible, server_of
from departments.keys.reader import secret_cache
from departments.keys.rotation_job import (
    HOLD,
    GiveUp,
    Job,
    Mode,
    Move,
    NotOursToDelete,
    NotYet,
    Outcome,
    Pause,
    Step,
    backoff,
    drain_time,
)
from departments.keys.rotation_parts import (
    afterwards,
    closing,
    record_read,
    result_of,
    version_to_retire,
)
from departments.keys.rotation_steps import promote, unstage
from departments.keys.vaults import SecretMissing
from departments.models import Department

LONGEST_SESSION = timedelta(minutes=30)  # above the longest document that a worker reads
REFUSED = ("28P01", "28000")  # the server's codes for a wrong password and for a role that may not enter


def plan(job: Job) -> Outcome:
    """Remember which version is current and whose password is in it. Reads only."""
    try:
        current = job.tools.vault.get_current(job.rotation.secret_name)
    except SecretMissing:
        return GiveUp("this department has no store")
    record_read(job, current.version_id, "plan")
    old = parse_credential(current)
    changes = {
        "old_version": old.version,
        "old_account_id": old.login,
        "old_fingerprint": old.password.fingerprint(),
        "new_account_id": other_login(old.role, old.login),
    }
    return Move(to=Step.STAGE, event=Event.ROTATION_PLANNED, changes=changes, details=changes)


def stage(job: Job) -> Outcome:
    """Make a password up and store it under the rotation's id, where nobody looks yet."""
    new = _credential(job, job.token)
    if new is None:
        old = _require(job, job.rotation.old_version)
        value = with_password(old, job.rotation.new_account_id, secrets.token_urlsafe(32))
        job.tools.vault.stage(job.rotation.secret_name, job.token, value)
        new = _require(job, job.token)
    changes = {"new_fingerprint": new.password.fingerprint()}
    return Move(to=Step.MINT, event=Event.ROTATION_STAGED, changes=changes)


def mint(job: Job) -> Outcome:
    """Let the other login role in with the new password."""
    new = _require(job, job.token)
    record_read(job, job.token, "mint")
    with _server(job) as server:
        let_in(server, new.role, new.login, new.password)
    return Move(to=Step.VERIFY, event=Event.ROTATION_MINTED, details={"login": new.login})


def verify(job: Job) -> Outcome:
    """Enter the store with the new password and be its owner there."""
    new = _require(job, job.token)
    record_read(job, job.token, "verify")
    try:
        with psycopg.connect(new.conninfo()) as store:
            row = store.execute("SELECT current_user").fetchone()
    except psycopg.OperationalError as error:
        problem = f"The store does not let the new password in ({type(error).__name__})."
        return Pause(wait=backoff(job.rotation.tries, longest=60), problem=problem)
    if row is None or row[0] != new.role:
        return GiveUp("the new login role does not become the store's owner")
    return Move(to=Step.PROMOTE, event=Event.ROTATION_VERIFIED)


def revert(job: Job) -> Outcome:
    """Make the old version current again; its role still has its password."""
    rotation, vault = job.rotation, job.tools.vault
    if vault.describe(rotation.secret_name).current == job.token:
        vault.promote(rotation.secret_name, rotation.old_version, job.token)
    changes = {"promoted_at": rotation.promoted_at or job.tools.now()}
    return Move(to=Step.UNSTAGE, event=Event.ROTATION_REVERTED, changes=changes)


def announce(job: Job) -> Outcome:
    """Raise the store's epoch: every process reads the credential again at its next question."""
    rotation, now = job.rotation, job.tools.now()
    secret_cache().forget(rotation.secret_name)

    def note() -> None:
        Department.objects.filter(pk=job.department.pk).update(store_epoch=F("store_epoch") + 1, store_password_at=now)

    at_once = rotation.mode == Mode.EMERGENCY and not rotation.giving_up
    to = Step.RETIRE if at_once else Step.DRAIN
    return Move(to=to, event=Event.ROTATION_ANNOUNCED, changes={"announced_at": now}, also=note)


def drain(job: Job) -> Outcome:
    """Wait until no process of ours can still want the password that goes."""
    rotation, now = job.rotation, job.tools.now()
    announced = rotation.announced_at or now
    if rotation.mode == Mode.EMERGENCY and not rotation.giving_up:
        return Move(to=Step.RETIRE, event=Event.ROTATION_DRAINED, details={"cut_short": True})
    if now < announced + drain_time():
        problem = "It waits until answers that began with the old password have ended."
        return Pause(wait=announced + drain_time() - now, problem=problem)
    with _server(job) as server:
        left = sessions_of(server, _login_to_retire(job))
    if left and now < announced + LONGEST_SESSION:
        return Pause(wait=timedelta(seconds=30), problem=f"{left} sessions with the old password are still open.")
    hold = rotation.mode == Mode.PLANNED and not rotation.giving_up
    return Move(
        to=Step.RETIRE,
        event=Event.ROTATION_DRAINED,
        details={"sessions": left},
        not_before=now + HOLD if hold else None,
    )


def retire(job: Job) -> Outcome:
    """Take the old role's password away and end the sessions that are left."""
    login = _login_to_retire(job)
    if not login:  # given up before there was anything
        return Move(to=Step.PROVE, event=Event.ROTATION_RETIRED, details={"how": "never made"})
    current = parse_credential(job.tools.vault.get_current(job.rotation.secret_name))
    record_read(job, current.version, "retire")
    if current.login == login:
        raise NotOursToDelete(f"rotation {job.rotation.pk}: the password to be ended is the current one")
    with _server(job) as server:
        if _exists(server, login):
            shut_out(server, login)
            let_leave(server, login)
            end_sessions(server, login)
    return Move(to=Step.PROVE, event=Event.ROTATION_RETIRED, details={"login": login})


def prove(job: Job) -> Outcome:
    """Knock with every password that was ended, until the server refuses it."""
    rotation = job.rotation
    versions = [version_to_retire(rotation), *rotation.also_prove]
    if any(_opens(job, version) for version in versions if version):
        return Pause(wait=backoff(rotation.tries, longest=30), problem="The store still takes the old password.")
    return closing(result_of(rotation), Event.ROTATION_PROVED, also=afterwards(job))


def _opens(job: Job, version: str) -> bool:
    old = _credential(job, version)
    if old is None:
        return False  # never stored, or gone from the secret manager: nobody has it
    record_read(job, version, "prove")
    try:
        psycopg.connect(old.conninfo()).close()
    except psycopg.OperationalError as error:
        return not _refused(error)
    return True


def _refused(error: psycopg.OperationalError) -> bool:
    """Whether the server answered, and said no to the password; a server that is away says nothing about it."""
    return error.sqlstate in REFUSED or "password authentication failed" in str(error)


def _login_to_retire(job: Job) -> str:
    return job.rotation.new_account_id if job.rotation.giving_up else job.rotation.old_account_id


def _credential(job: Job, version: str) -> Credential | None:
    try:
        return parse_credential(job.tools.vault.get_version(job.rotation.secret_name, version))
    except SecretMissing:
        return None


def _require(job: Job, version: str) -> Credential:
    """SecretMissing, after which the step is taken again, where the version is not there."""
    return parse_credential(job.tools.vault.get_version(job.rotation.secret_name, version))


@contextmanager
def _server(job: Job) -> Iterator[Connection[Any]]:
    """The provisioner's connection. NotYet where the server is away or refuses."""
    try:
        with server_of(job.department) as server:
            yield server
    except (psycopg.Error, ProvisioningImpossible) as error:
        raise NotYet(f"The database server does not do what is asked ({type(error).__name__}).") from error


def _exists(server: Connection[Any], login: str) -> bool:
    return bool(server.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [login]).fetchone())


STEPS: dict[str, Callable[[Job], Outcome]] = {
    Step.PLAN: plan,
    Step.STAGE: stage,
    Step.MINT: mint,
    Step.VERIFY: verify,
    Step.PROMOTE: promote,
    Step.REVERT: revert,
    Step.UNSTAGE: unstage,
    Step.ANNOUNCE: announce,
    Step.DRAIN: drain,
    Step.RETIRE: retire,
    Step.PROVE: prove,
}
