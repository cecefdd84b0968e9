"""Whether the provider takes a key: looked at without cost, or tried on the models of its department.

Rules:
- `look` asks for a model's description: no prompt, no tokens. Only 401 means dead.
- `try_out` then makes one call of a few tokens in each family of the API in use. Each is a call to a provider like any
  other: its request is in the record before it is sent.
- Nothing is retried here; who asks decides how often. The provider's words are not repeated: its 401 quotes the key.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any
from uuid import uuid4

import httpx2
import openai
from django.conf import settings
from openai import DefaultHttpx2Client, OpenAI

from audit.events import Event, Outcome
from audit.writer import Entry, record
from departments.keys.admin_api import AdminApi, AdminApiError, AdminForbidden, AdminKeyRefused, openai_base_url
from departments.keys.client import NO_PROXY_IN_CLEAR, Provider, provider_named, refuse_environment
from departments.keys.secret import Secret
from departments.models import Department

PURPOSE = "key_check"
WORD = "ok"
TOKENS = 16
SECONDS = 10.0


class Verdict(Enum):
    """What a trial says about a key."""

    ALIVE = "alive"
    DEAD = "dead"
    FORBIDDEN = "forbidden"  # known to the provider, but not allowed to do what the department needs
    UNCLEAR = "unclear"  # the provider was not reached, or is too busy to say


def look(department: Department, key: Secret) -> Verdict:
    """Whether the provider knows the key."""
    if department.provider not in settings.PROVIDERS:
        return Verdict.UNCLEAR
    with _client(department, key) as client:
        return _verdict(lambda: client.models.retrieve(department.model))


def look_admin_key(key: Secret) -> Verdict:
    """The same for an admin key, which can call no model: whether it may read its organization's projects."""
    try:
        with AdminApi(key, openai_base_url()) as api:
            api.verify()
    except AdminKeyRefused:
        return Verdict.DEAD
    except AdminForbidden:
        return Verdict.FORBIDDEN
    except AdminApiError:
        return Verdict.UNCLEAR
    return Verdict.ALIVE


def sees_any(admin_key: Secret, project_ids: set[str]) -> bool:
    """Whether one of these projects is of the admin key's organization. An AdminApiError where nobody can say.

    True of a key that may not look: the trial that follows says why.
    """
    try:
        with AdminApi(admin_key, openai_base_url()) as api:
            return any(project.id in project_ids for project in api.list_projects(include_archived=True))
    except (AdminKeyRefused, AdminForbidden):
        return True


def try_out(department: Department, key: Secret, version: str) -> Verdict:
    """Whether the key does what its department needs. Costs a few tokens; each call is two events in the record."""
    if department.provider not in settings.PROVIDERS:
        return Verdict.UNCLEAR
    provider = provider_named(department.provider)
    with _client(department, key) as client:
        verdict = _verdict(lambda: client.models.retrieve(department.model))
        for model, call in _calls(client, provider, department):
            if verdict is Verdict.ALIVE:
                verdict = _recorded(department, key, version, model, call)
    return verdict


def _client(department: Department, key: Secret) -> OpenAI:
    refuse_environment()
    return OpenAI(
        api_key=key.reveal(),
        base_url=provider_named(department.provider).base_url,
        max_retries=0,
        timeout=SECONDS,
        http_client=DefaultHttpx2Client(
            follow_redirects=False, mounts=NO_PROXY_IN_CLEAR, timeout=httpx2.Timeout(SECONDS)
        ),
    )


def _calls(client: OpenAI, provider: Provider, department: Department) -> list[tuple[str, Callable[[], Any]]]:
    cap = "max_tokens" if provider.kind == "compatible" else "max_completion_tokens"
    chat: dict[str, Any] = {"messages": [{"role": "user", "content": WORD}], cap: TOKENS}
    if provider.kind == "openai":
        chat["store"] = False
    embedding = {"input": [WORD], "dimensions": settings.EMBEDDING_DIMENSIONS, "encoding_format": "float"}
    return [
        (department.model, lambda: client.chat.completions.create(model=department.model, **chat)),
        (
            settings.EMBEDDING_MODEL,
            lambda: client.embeddings.create(model=settings.EMBEDDING_MODEL, **embedding),  # type: ignore[arg-type]
        ),
    ]


def _recorded(department: Department, key: Secret, version: str, model: str, call: Callable[[], Any]) -> Verdict:
    shared: dict[str, Any] = {
        "call_id": uuid4(),
        "organization_id": department.organization_id,
        "organization_name": department.organization.name,
        "department_id": department.pk,
        "department_name": department.name,
        "actor_name": "ChatGrid",
        "purpose": PURPOSE,
        "model_asked": model,
        "key_fingerprint": key.fingerprint(),
        "key_version": version,
    }
    record(Entry(event=Event.CALL_REQUESTED, **shared))
    usage: dict[str, Any] = {}
    verdict = _verdict(lambda: usage.update(_usage(call())))
    outcome = Outcome.ANSWERED if usage else Outcome.FAILED
    record(Entry(event=Event.CALL_ANSWERED, outcome=outcome, details={"reason": verdict.value}, **usage, **shared))
    return verdict


def _usage(answer: Any) -> dict[str, int]:
    """Tokens under the names of the record; a compatible server may report none."""
    usage = answer.usage
    output = getattr(usage, "completion_tokens", 0) or 0
    return {"tokens_input": getattr(usage, "prompt_tokens", 0) or 0, "tokens_output": output}


def _verdict(call: Callable[[], Any]) -> Verdict:
    try:
        call()
    except openai.APIStatusError as error:
        return _of_status(error.status_code)
    except openai.APIError:
        return Verdict.UNCLEAR
    return Verdict.ALIVE


def _of_status(status: int) -> Verdict:
    """What a refusal says about the key: whoever answers 400, 404 or 429 has let it in."""
    if status == 401:
        return Verdict.DEAD
    if status == 403:
        return Verdict.FORBIDDEN
    return Verdict.UNCLEAR if status >= 500 or status == 408 else Verdict.ALIVE
