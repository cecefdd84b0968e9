"""Exchanges while people chat over several web processes, with the rotator in a process of its own: no call fails.

Everything is as in production: uvicorn, Celery, PostgreSQL, Valkey, HTTP to the provider's simulator. Only the waiting
of planned exchanges is cut short, by a worker whose clock is ahead.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx2
import pytest
import redis
from django.conf import settings
from django.db import connections
from django.urls import reverse

from audit.events import Event, Outcome
from audit.models import AuditEvent
from chatgrid.accounts.models import User
from chatgrid.dev.services.ports import pick
from departments.keys import rotation as rotating
from departments.keys.models import KeyReference
from departments.keys.provisioning import apply
from departments.keys.rotation import default_tools
from departments.keys.rotation_models import Rotation
from departments.models import Department
from tests.company import Company, freshly_signed_in, give_store
from tests.departments.keys.test_rotation_live import Ahead, current_key
from tests.openai_admin import OpenAICompany
from tests.provider import Provider

ROOT = Path(__file__).resolve().parents[3]
WEB_PROCESSES = 2
PEOPLE = 6
READING = 0.25  # seconds between two questions: the project's own 600 requests a minute would be the limit else
Result = Rotation.Result


@dataclass
class Site:
    """Several web processes on one database, and the rotator's worker."""

    addresses: list[str]

    def browser(self, number: int, cookies: dict[str, str]) -> httpx2.Client:
        address = self.addresses[number % len(self.addresses)]
        return httpx2.Client(base_url=address, cookies=cookies, timeout=60, trust_env=False)


@pytest.fixture
def openai(provider: Provider, company: Company) -> Iterator[OpenAICompany]:
    there = OpenAICompany(provider.address).belongs_to(company.organization)
    apply(company.hr)
    give_store(company.hr)
    yield there
    there.behave()


@pytest.fixture(scope="module")
def site(provider: Provider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    logs = tmp_path_factory.mktemp("load")
    redis.Redis.from_url(settings.CELERY_BROKER_URL).delete("rotation")  # what other tests left for a worker
    ports = [pick() for _ in range(WEB_PROCESSES)]
    web = [sys.executable, "-m", "uvicorn", "chatgrid.asgi:application", "--log-level", "warning", "--port"]
    worker = [sys.executable, "-m", "celery", "-A", "chatgrid", "worker", "--queues", "rotation"]
    commands = [[*web, str(port)] for port in ports] + [[*worker, "--concurrency", "1", "--loglevel", "warning"]]
    with ExitStack() as ending:
        processes = []
        for number, command in enumerate(commands):
            log = ending.enter_context((logs / str(number)).open("wb"))
            processes.append(subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, env=dict(os.environ)))
        try:
            for port in ports:
                wait_until(lambda port=port: answers(f"http://127.0.0.1:{port}/healthz"), "a web process")
            yield Site([f"http://127.0.0.1:{port}" for port in ports])
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait(timeout=60)


def answers(address: str) -> bool:
    try:
        return httpx2.get(address, trust_env=False).status_code == 200
    except httpx2.TransportError:
        return False


def wait_until(ready: object, what: str, seconds: float = 90) -> float:
    """The seconds it took."""
    started = time.monotonic()
    while not ready():  # type: ignore[operator]
        assert time.monotonic() - started < seconds, f"waited {seconds} s for {what}"
        time.sleep(0.1)
    return time.monotonic() - started


def cookies_of(person: User, *, fresh: bool = False) -> dict[str, str]:
    """A browser's cookies, made here; only what follows goes over HTTP."""
    from tests.company import signed_in

    client = asyncio.run(freshly_signed_in(person) if fresh else signed_in(person))
    connections.close_all()
    return {"chatgrid_session": client.cookies["chatgrid_session"].value, "chatgrid_csrf": secrets.token_hex(16)}


@dataclass
class Chats:
    """People who ask one question after the other until they are told to stop, and what they met."""

    site: Site
    cookies: dict[str, str]
    over: threading.Event = field(default_factory=threading.Event)
    statuses: list[int] = field(default_factory=list)
    bodies: list[str] = field(default_factory=list)

    def __enter__(self) -> Chats:
        self._people = [threading.Thread(target=self._ask_on, args=(number,)) for number in range(PEOPLE)]
        for person in self._people:
            person.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        for person in self._people:
            person.join()

    def _ask_on(self, number: int) -> None:
        form = {"question": "How much leave do I have?", "csrfmiddlewaretoken": self.cookies["chatgrid_csrf"]}
        with self.site.browser(number, self.cookies) as browser:
            while not self.over.wait(READING):
                answer = browser.post("/d/hr/ask", data=form, headers={"Accept": "text/event-stream"})
                self.statuses.append(answer.status_code)
                self.bodies.append(answer.text)


def chats_of(department: Department) -> list[str]:
    found = AuditEvent.objects.filter(department_id=department.pk, event=Event.CALL_ANSWERED, purpose="chat")
    return list(found.values_list("outcome", flat=True))


def exchange(department: Department, trigger: str) -> str:
    """A worker whose clock goes to where the rotation wants it."""
    rotation, clock = rotating.start(department, trigger), Ahead()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        rotating.advance(rotation.pk, replace(default_tools(), now=clock.now))
        rotation.refresh_from_db()
        if rotation.closed_at:
            return rotation.result
        if rotation.not_before:
            clock.reach(rotation.not_before)
        time.sleep(0.05)
    raise AssertionError(f"{rotation.step}: {rotation.problem}")


def test_five_exchanges_while_people_chat_over_several_processes_fail_no_call(
    site: Site, company: Company, openai: OpenAICompany
) -> None:
    with Chats(site, cookies_of(company.bob)) as chats:
        wait_until(lambda: len(chats.statuses) >= PEOPLE, "the first answers")
        results = []
        for trigger in ("button", "leak", "person_left", "leak", "schedule"):
            results.append(exchange(company.hr, trigger))
            before = len(chats.statuses)
            wait_until(lambda before=before: len(chats.statuses) >= before + PEOPLE, "answers with the new key")
    assert results == [Result.DONE] * 5
    assert set(chats.statuses) == {200}
    outcomes = chats_of(company.hr)
    assert set(outcomes) == {Outcome.ANSWERED}
    assert len(outcomes) == len(chats.statuses)
    used = AuditEvent.objects.filter(department_id=company.hr.pk, event=Event.CALL_REQUESTED, purpose="chat")
    versions = used.values("key_version").distinct().order_by().count()
    print(f"{len(outcomes)} chats over {WEB_PROCESSES} processes with {versions} keys, 0 failed")  # noqa: T201
    assert versions >= 5, "the chats did not meet the exchanges"


def test_an_emergency_is_over_within_a_minute_of_the_button(
    site: Site, company: Company, openai: OpenAICompany
) -> None:
    """From the click in the console to the provider's refusal, by the real worker, while people chat."""
    old, key = current_key(company.hr), KeyReference.objects.get(department=company.hr)
    ivan, bob = cookies_of(company.ivan, fresh=True), cookies_of(company.bob)
    address = reverse("admin:keys_keyreference_ask", args=[key.pk, "emergency"])
    form = {"reason": "seen in a repository", "csrfmiddlewaretoken": ivan["chatgrid_csrf"]}
    with Chats(site, bob) as chats, site.browser(0, ivan) as console:
        wait_until(lambda: len(chats.statuses) >= PEOPLE, "the first answers")
        pressed = time.monotonic()
        assert console.post(address, data=form).status_code == 302
        rotation = Rotation.objects.get(department=company.hr)
        new = AuditEvent.objects.filter(
            department_id=company.hr.pk, event=Event.CALL_ANSWERED, purpose="chat", key_version=str(rotation.pk)
        )
        wait_until(new.exists, "an answer with the new key")
        live = time.monotonic() - pressed
        wait_until(lambda: openai.asks(old) == 401, "the provider to refuse the old key")
        refused = time.monotonic() - pressed
        wait_until(lambda: Rotation.objects.get(pk=rotation.pk).closed_at, "the proof")
    print(f"answered with the new key after {live:.1f} s, old key refused after {refused:.1f} s")  # noqa: T201
    assert live < 30
    assert refused < 60
    assert Rotation.objects.get(pk=rotation.pk).result == Result.DONE
    assert set(chats.statuses) == {200}
    assert set(chats_of(company.hr)) == {Outcome.ANSWERED}
