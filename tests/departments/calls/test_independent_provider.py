"""The door against an implementation of the provider's API that is not ours: @copilotkit/aimock, from npm.

Our simulator and our reading of the protocol could share a mistake; this peer would not.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from django.test import override_settings

from audit.events import Event, Outcome
from audit.models import AuditEvent
from chatgrid.dev.services.ports import pick
from departments.calls import sentences
from departments.calls.caller import Caller, CallFailed, Purpose
from departments.calls.embeddings import embed
from departments.calls.run import Ask, answering
from departments.keys.secret import Secret
from departments.models import Department
from tests.company import Company, give_key, make_key

PEERS = Path(__file__).resolve().parents[2] / "peers"
ANSWER = "Twenty-eight days of leave, as agreed [1]. Ask **HR** about the rest."


def installed() -> Path:
    """The peer's program, installed once from its locked list; skips where there is no npm."""
    if not (shutil.which("npm") and shutil.which("node")):
        pytest.skip("npm is not installed: `apt-get install npm` runs this test")
    program = PEERS / "node_modules" / ".bin" / "llmock"
    with (PEERS / "package.json").open() as locked:
        fcntl.flock(locked, fcntl.LOCK_EX)  # two workers that install at once break each other's folder
        if not program.exists():
            subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--silent"], cwd=PEERS, check=True, timeout=170)
    return program


@pytest.fixture(scope="module")
def accepted_key() -> Secret:
    return make_key()


@pytest.fixture(scope="module")
def peer(accepted_key: Secret, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    fixtures = tmp_path_factory.mktemp("aimock") / "fixtures.json"
    fixtures.write_text(
        json.dumps(
            {
                "fixtures": [
                    {
                        "match": {"userMessage": "overload"},
                        "response": {
                            "error": {"message": "slow down", "type": "requests", "code": "rate_limit_exceeded"},
                            "status": 429,
                        },
                    },
                    {"match": {"endpoint": "chat"}, "response": {"content": ANSWER}},
                ]
            }
        ),
        encoding="utf-8",
    )
    port = pick()
    program = [str(installed()), "-p", str(port), "-f", str(fixtures), "--log-level", "silent"]
    environment = {"PATH": os.environ["PATH"], "AIMOCK_API_KEYS": accepted_key.reveal()}
    process = subprocess.Popen(program, env=environment)
    address = f"http://127.0.0.1:{port}/v1"
    _wait_for(address, accepted_key, process)
    yield address
    process.terminate()
    process.wait(timeout=10)


def _wait_for(address: str, key: Secret, process: subprocess.Popen[bytes]) -> None:
    headers = {"Authorization": f"Bearer {key.reveal()}"}
    for _ in range(150):
        assert process.poll() is None, "the peer ended"
        try:
            httpx2.get(f"{address}/models", headers=headers)
        except httpx2.TransportError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError("the peer did not answer in 15 s")


@pytest.fixture
def at_peer(peer: str) -> Iterator[None]:
    with override_settings(PROVIDERS={"openai": {"kind": "openai", "base_url": peer}}):
        yield


def ask(company: Company, question: str = "How much leave do I have?") -> Ask:
    department = Department.objects.select_related("organization").get(pk=company.hr.pk)
    return Ask(department=department, caller=Caller(company.bob.pk, company.bob.name), question=question)


async def whole(question: Ask) -> str:
    async with answering(question) as (_, text):
        return "".join([flush async for flush in text])


def last_event(company: Company) -> AuditEvent:
    events = AuditEvent.objects.filter(organization_id=company.organization.pk, event=Event.CALL_ANSWERED)
    return events.latest("at")


async def test_an_answer_streams_and_is_booked(company: Company, at_peer: None, accepted_key: Secret) -> None:
    give_key(company.hr, accepted_key)
    assert await whole(ask(company)) == ANSWER
    event = last_event(company)
    assert event.outcome == Outcome.ANSWERED
    assert event.tokens_output > 0
    assert not event.tokens_estimated


async def test_a_key_the_peer_does_not_know_is_refused_in_our_words(company: Company, at_peer: None) -> None:
    give_key(company.hr)
    with pytest.raises(CallFailed) as failed:
        await whole(ask(company))
    assert failed.value.sentence == sentences.KEY_REFUSED
    assert last_event(company).outcome == Outcome.FAILED


async def test_a_rate_limit_is_told_as_one(company: Company, at_peer: None, accepted_key: Secret) -> None:
    give_key(company.hr, accepted_key)
    with pytest.raises(CallFailed) as failed:
        await whole(ask(company, "overload"))
    assert failed.value.reason == "provider_rate_limited"


async def test_embeddings_come_back_in_order_and_normalised(
    company: Company, at_peer: None, accepted_key: Secret
) -> None:
    give_key(company.hr, accepted_key)
    question = ask(company)
    one, two = await embed(question.department, question.caller, ["leave", "travel"], purpose=Purpose.SEARCH)
    (alone,) = await embed(question.department, question.caller, ["travel"], purpose=Purpose.SEARCH)
    assert len(one) == 1536
    assert sum(value * value for value in one) == pytest.approx(1, abs=1e-3)
    assert two == pytest.approx(alone, abs=1e-3)
    assert one != two
