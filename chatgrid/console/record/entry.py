"""One entry of the record with its proof, and the text of its question, which an auditor may read and never unseen.

Rules:
- The proof is computed when the page is asked for, from what the database holds at that moment.
- IT runs ChatGrid and does not read: the text of a question is for the organization's auditors, with a fresh sign-in
  and a reason, and that somebody read it is in the record before they see it. The answer and the rest of a conversation
  are not in the record, and no page shows them to anybody but their owner.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID

from django.contrib import messages
from django.db import connection, transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from audit.events import Event
from audit.models import AuditEvent, AuditText
from audit.proofs import Proof, prove
from audit.signing import key_id
from audit.writer import Entry, record
from chatgrid.accounts.models import User
from chatgrid.console.fresh import confirmation_of, confirmed
from chatgrid.console.record.filters import as_uuid
from chatgrid.console.record.listing import about, result_of
from chatgrid.console.scope import may_enter, viewer_of, visible
from chatgrid.console.site import site
from departments.http import client_address
from departments.roles import OrganizationRole

KEYED = "hmac-sha256:"


@dataclass(frozen=True)
class Field:
    """A line of the entry: its name, its value in words, and whether it is to be read letter by letter."""

    name: str
    value: str
    exact: bool = False


@dataclass(frozen=True)
class Step:
    """A step of the proof: what was looked at, in words, whether it holds, and the values to compare by hand."""

    title: str
    words: str
    holds: bool
    values: Sequence[tuple[str, str]] = ()


def may_read_questions(person: Any) -> bool:
    """Auditors of an organization alone: neither IT nor the platform's operator."""
    return may_enter(person) and not person.is_superuser and person.role == OrganizationRole.AUDITOR


@require_safe
def show_event(request: HttpRequest, object_id: str) -> HttpResponse:
    """The entry, its proof, and what belongs to the same call."""
    event = _event(request, object_id)
    return _page(request, event)


@never_cache
@require_http_methods(["GET", "POST"])
@confirmed("Read the text of a question that somebody else asked.", allowed=may_read_questions)
def read_question(request: HttpRequest, object_id: str) -> HttpResponse:
    """The entry with its question. That it was read is committed before it is shown."""
    event = _event(request, object_id)
    if request.method != "POST":
        return redirect("admin:audit_auditevent_change", event.pk)
    with transaction.atomic():
        text = AuditText.objects.filter(event_id=event.pk).first()
        if text is None:
            messages.error(request, "There is no text to read: it was erased, or never kept.")
            return redirect("admin:audit_auditevent_change", event.pk)
        record(_reading(request, event))
    return _page(request, event, text)


def _event(request: HttpRequest, object_id: str) -> AuditEvent:
    wanted = as_uuid(object_id)
    found = visible(AuditEvent.objects.filter(pk=wanted), viewer_of(request)).first() if wanted else None
    if found is None:
        raise Http404
    return found


def _page(request: HttpRequest, event: AuditEvent, text: AuditText | None = None) -> HttpResponse:
    proof = _proof(event.pk)
    beside = AuditEvent.objects.filter(call_id=event.call_id).exclude(pk=event.pk) if event.call_id else None
    context = {
        **site.each_context(request),
        "title": event.sentence,
        "tab": "events",
        "event": event,
        "groups": _groups(event),
        "passages": event.passages,
        "labels": event.labels,
        "details": json.dumps(event.details, indent=2, ensure_ascii=False) if event.details else "",
        "beside": list(visible(beside.order_by("at"), viewer_of(request))) if beside is not None else [],
        "question": _question(event, viewer_of(request)),
        "text": text,
        "text_fits": text is not None and _fits(event, text),
        "proof": proof,
        "steps": steps_of(proof) if proof else [],
    }
    return TemplateResponse(request, "console/record/entry.html", context)


def _proof(event_id: UUID) -> Proof | None:
    connection.ensure_connection()
    return prove(cast(Any, connection.connection), event_id)


def _groups(event: AuditEvent) -> list[tuple[str, list[Field]]]:
    """The entry's fields that hold something, under three headings."""
    return [(title, shown) for title, fields in _fields(event) if (shown := [field for field in fields if field.value])]


def _fields(event: AuditEvent) -> list[tuple[str, list[Field]]]:
    who = [
        Field("When", f"{event.at:%Y-%m-%d %H:%M:%S.%f} UTC"),
        Field("Who", event.actor_name),
        Field("Id of the person", str(event.actor_id or ""), exact=True),
        Field("From address", event.client_address, exact=True),
        Field("Department", event.department_name),
        Field("Organization", event.organization_name),
        Field("About", about(event)),
        Field("Id of what it is about", event.subject_id, exact=True),
    ]
    call = [
        Field("Result", result_of(event)),
        Field("Purpose", event.purpose),
        Field("Model asked", event.model_asked),
        Field("Model that answered", event.model_answered),
        Field("Tokens in", _number(event.tokens_input)),
        Field("of these from the cache", _number(event.tokens_cached)),
        Field("Tokens out", _number(event.tokens_output)),
        Field("of these for reasoning", _number(event.tokens_reasoning)),
        Field("Counted by", _counted_by(event)),
        Field("Cost", f"US${event.cost:,.8f}" if event.cost is not None else ""),
        Field("First word after", f"{event.first_token_ms:,} ms" if event.first_token_ms is not None else ""),
        Field("Took", f"{event.total_ms:,} ms" if event.total_ms is not None else ""),
    ]
    traces = [
        Field("Id of this entry", str(event.pk), exact=True),
        Field("Id of the call", str(event.call_id or ""), exact=True),
        Field("Id at the provider", event.provider_request_id, exact=True),
        Field("Fingerprint of the key", event.key_fingerprint, exact=True),
        Field("Version of the key", event.key_version, exact=True),
        Field("Hash of the question", event.query_hash, exact=True),
    ]
    return [("What happened", who), ("The call", call), ("To find it elsewhere", traces)]


def _number(count: int | None) -> str:
    return "" if count is None else f"{count:,}"


def _counted_by(event: AuditEvent) -> str:
    if event.tokens_input is None and event.tokens_output is None:
        return ""
    return "ChatGrid: an estimate" if event.tokens_estimated else "the provider"


def _question(event: AuditEvent, viewer: User) -> str:
    """What can be said about the question's text: "" for an entry that has none."""
    if not event.query_hash or event.event != Event.CALL_REQUESTED:
        return ""
    if event.query_hash.startswith(KEYED):
        return "hashed"
    if not AuditText.objects.filter(event_id=event.pk).exists():
        return "erased"
    return "readable" if may_read_questions(viewer) else "closed"


def _fits(event: AuditEvent, text: AuditText) -> bool:
    """Whether this is the text whose salted hash was sealed with the event."""
    return hashlib.sha256(bytes(text.salt) + text.text.encode()).hexdigest() == event.query_hash


def _reading(request: HttpRequest, event: AuditEvent) -> Entry:
    reader, given = viewer_of(request), confirmation_of(request)
    return Entry(
        event=Event.QUESTION_READ,
        organization_id=event.organization_id,
        organization_name=event.organization_name,
        department_id=event.department_id,
        department_name=event.department_name,
        actor_id=reader.pk,
        actor_name=str(reader),
        client_address=client_address(request),
        subject_kind="question",
        subject_id=str(event.pk),
        details={"asked_by": event.actor_name, **(given.details() if given else {})},
    )


def steps_of(proof: Proof) -> list[Step]:
    """The proof as a person can follow it, each step with the values to compare by hand."""
    seal = proof.seal
    many = "the only entry" if seal.count == 1 else f"entry {proof.index + 1:,} of {seal.count:,}"
    return [
        Step(
            "The entry is as it was sealed",
            "Its hash was computed again just now, over every field, and compared with the one that was kept."
            if proof.is_unchanged
            else "Its hash is another than the one that was kept: the entry was changed after it was sealed.",
            proof.is_unchanged,
            [("Hash now", proof.computed.hex()), ("Hash that was kept", proof.stored.hex())],
        ),
        Step(
            f"It belongs to seal {seal.n:,}",
            f"It is {many} under this seal. From its hash, {_steps(len(proof.steps))} lead to the seal’s root.",
            proof.reaches_root,
            [
                *((f"Step {number}", step.hex()) for number, step in enumerate(proof.steps, 1)),
                ("Root", seal.root.hex()),
            ],
        ),
        Step(
            "The seal is signed",
            f"Signed at {seal.at:%Y-%m-%d %H:%M:%S} UTC with the key {seal.key}. Compare it with the one you have.",
            proof.is_signed,
            [
                ("Key", key_id(seal.public_key)),
                ("Public key", seal.public_key.hex()),
                ("Signature", seal.signature.hex()),
            ],
        ),
        Step(
            "The seal follows the one before it",
            "It is the first seal: nothing comes before it."
            if seal.n == 1
            else f"It names the digest of seal {seal.n - 1:,}, which is as it says.",
            proof.follows,
            [("Digest it names", seal.previous.hex()), ("Its own digest", seal.digest.hex())],
        ),
        _step_of_anchors(proof),
    ]


def _step_of_anchors(proof: Proof) -> Step:
    having = [mark for mark in proof.anchors if mark.has_it]
    if having:
        words = "The sealer carried it to: " + ", ".join(mark.name for mark in having)
        words += ". What lies there is read and compared by “Verify now”."
    else:
        words = "No place outside the database has it yet. Until then, whoever owns the database could take it back."
    values = [
        (mark.name, f"has every seal up to {mark.seal:,}, since {mark.at:%Y-%m-%d %H:%M:%S} UTC") for mark in having
    ]
    return Step("The seal lies outside the database", words, bool(having), values)


def _steps(count: int) -> str:
    return "1 step" if count == 1 else f"{count} steps"
