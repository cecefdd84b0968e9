"""What a department's assistant is told: written by its admin, tried before it is relied on, read by its members.

Rules:
- Every member sees how the assistant is set up; the rules themselves only where the admin has made them public.
- Only who holds `MANAGE_RULES` changes them, sees the exact request, and tries attacks on them.
- The preview takes what stands in the form, saved or not, and sends nothing but the search for passages.
- Everything works without JavaScript; a trial runs in the background and its page is looked at again.
"""

from __future__ import annotations

import copy
import json
from typing import Any
from uuid import UUID

from asgiref.sync import async_to_sync
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from chatgrid.assistant.forms import PreviewForm, RulesForm
from chatgrid.flood import shield
from departments.access import Forbidden, NotFound, access_department
from departments.calls.caller import CallEndedEarly, Caller
from departments.calls.models import Trial
from departments.calls.rules import ChangedMeanwhile, SecretInRules, change_rules, digest_of, request_of
from departments.calls.run import Ask, PassageData, rules_of
from departments.calls.trial_job import TrialRuns, start
from departments.calls.trials import attacks_on, scores
from departments.documents.search import search
from departments.documents.store import StoreDown, open_store
from departments.http import PersonRequest, client_address, require_person
from departments.models import Department
from departments.roles import Right

PASSAGES = 6
TRIALS_SHOWN = 12
SAVED = "The rules are saved. They hold for every question from now on."
UNCHANGED = "Nothing was changed."
STARTED = "The trial has begun. Look at this page again in a moment."


@require_http_methods(["GET", "HEAD", "POST"])
@require_person
def rules(request: PersonRequest, slug: str) -> HttpResponse:
    """The rules: to read for a member, to write for the admin."""
    if request.method == "POST":
        return _save(request, _department(request, slug, Right.MANAGE_RULES))
    try:
        department = _department(request, slug, Right.MANAGE_RULES)
    except Forbidden:
        department = _department(request, slug, Right.CHAT)
        context = {"department": department, "rules": rules_of(department) if department.rules_public else ""}
        return render(request, "assistant/about.html", context)
    return _page(request, department, _form_of(department))


@require_POST
@require_person
@shield("ask")
def preview(request: PersonRequest, slug: str) -> HttpResponse:
    """The exact request that would be sent for a question under the rules in the form."""
    department = _department(request, slug, Right.MANAGE_RULES)
    form = RulesForm(request.POST, instance=copy.copy(department))
    asked = PreviewForm(request.POST)
    if not form.is_valid() or not asked.is_valid():
        return _page(request, department, form, asked=asked, status=400)
    shown, sentence = async_to_sync(_previewed)(request, form.instance, asked.cleaned_data["question"])
    return _page(request, department, form, asked=asked, shown=shown, sentence=sentence)


@require_POST
@require_person
@shield("ask")
def try_attacks(request: PersonRequest, slug: str) -> HttpResponse:
    """Begin a trial of the saved rules."""
    department = _department(request, slug, Right.MANAGE_RULES)
    try:
        trial = start(department, request.person, address=client_address(request))
    except TrialRuns as runs:
        messages.info(request, runs.sentence)
        return redirect("assistant:rules", department.slug)
    messages.success(request, STARTED)
    return redirect("assistant:trial", department.slug, trial.pk)


@require_GET
@require_person
def trial(request: PersonRequest, slug: str, trial_id: UUID) -> HttpResponse:
    """What became of each attack of one trial."""
    department = _department(request, slug, Right.MANAGE_RULES)
    found = Trial.objects.filter(pk=trial_id, department_id=department.pk).first()
    if found is None:
        raise NotFound("There is no such trial.")
    context = {"department": department, "trial": found, "scores": scores(found.tried), "left": _left(found)}
    return render(request, "assistant/trial.html", context)


def _save(request: PersonRequest, department: Department) -> HttpResponse:
    form = RulesForm(request.POST, instance=copy.copy(department))
    if not form.is_valid():
        return _page(request, department, form, status=400)
    address, seen = client_address(request), form.cleaned_data["seen"]
    try:
        changed = change_rules(department, request.person, form.values(), seen=seen, address=address)
    except SecretInRules as refused:
        form.add_error(refused.field, refused.sentence)
        return _page(request, department, form, status=422)
    except ChangedMeanwhile as refused:
        messages.error(request, refused.sentence)
        return _page(request, department, _form_of(department), status=409)
    messages.success(request, SAVED if changed else UNCHANGED)
    return redirect("assistant:rules", department.slug)


def _page(
    request: PersonRequest,
    department: Department,
    form: RulesForm,
    *,
    asked: PreviewForm | None = None,
    shown: dict[str, Any] | None = None,
    sentence: str = "",
    status: int = 200,
) -> HttpResponse:
    trials = list(Trial.objects.filter(department_id=department.pk)[:TRIALS_SHOWN])
    context = {
        "department": department,
        "form": form,
        "asked": asked or PreviewForm(),
        "shown": shown,
        "body": json.dumps(shown["body"], indent=2, ensure_ascii=False) if shown else "",
        "sentence": sentence,
        "trials": [{"trial": each, "scores": scores(each.tried)} for each in trials],
        "attacks": len(attacks_on(department)),
        "runs": any(each.finished_at is None for each in trials),
    }
    return render(request, "assistant/rules.html", context, status=status)


def _form_of(department: Department) -> RulesForm:
    return RulesForm(instance=department, initial={"seen": digest_of(department)})


def _department(request: PersonRequest, slug: str, right: Right) -> Department:
    department = access_department(request.person, slug, right)
    request.department = department  # type: ignore[attr-defined]  # the shell shows where the person is
    return department


async def _previewed(
    request: PersonRequest, department: Department, question: str
) -> tuple[dict[str, Any] | None, str]:
    """The request, and a sentence where something of it could not be found out."""
    caller = Caller(request.person.id, request.person.name, client_address(request))
    passages, in_doubt, sentence = await _passages(department, caller, question)
    ask = Ask(department=department, caller=caller, question=question, passages=passages, in_doubt=in_doubt)
    try:
        return request_of(ask), sentence
    except KeyError:
        return None, "The provider of this department is not set up. IT can choose another one in the console."


async def _passages(department: Department, caller: Caller, question: str) -> tuple[list[PassageData], bool, str]:
    """What the chat would give the model, whether the search is in doubt of it, and what there is to say of it."""
    try:
        async with open_store(department) as store:
            result = await search(store, department, caller, question, limit=PASSAGES)
    except (CallEndedEarly, StoreDown) as problem:
        return [], False, f"Without passages: {problem.sentence}"
    found = result.passages if result.worth_reading else []
    shown = [
        PassageData(number, each.title, " > ".join(each.heading_path), each.text)
        for number, each in enumerate(found, start=1)
    ]
    sentence = "" if shown else "No passage of the department's documents fits this question."
    return shown, bool(shown) and not result.confident, sentence


def _left(found: Trial) -> int:
    return len(found.attacks) - len(found.tried)
