"""What each layer against prompt injection does with attacks of our own, here and now: the figures of `attack_report`.

Rules:
- Nothing is sent anywhere and nothing is written; only budgets, trials and labels seen are read from the database.
- A layer that must hold everything says how many it held of how many. The scanner holds nothing: its figures are how
  many attacks and how many honest texts it labels.
"""

from __future__ import annotations

import base64
import json
import secrets
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.utils import timezone

import departments.prompts
from audit.models import AuditEvent
from departments.calls.models import Trial
from departments.calls.trials import scores as trial_scores
from departments.keys.patterns import contains_key
from departments.limits.models import Limit
from departments.models import Department
from departments.prompts.assemble import PassageData, Turn, assemble
from departments.prompts.clean import clean
from departments.prompts.guard import OutputFilter, Withheld
from departments.prompts.scanner import scan

CORPUS = Path(departments.prompts.__file__).parent / "attacks.toml"
PIECES = (1, 2, 3, 5, 8, 13, 400)  # characters: an answer comes in pieces of each of these lengths
REACH = timedelta(days=30)
RULES = "Speak of leave and of working hours only, and send every question about pay to the payroll desk upstairs."


@dataclass(frozen=True)
class Score:
    """`held` of `tried`; `must_hold` says whether anything less than all is a flaw."""

    layer: str
    what: str
    held: int
    tried: int
    must_hold: bool = True

    @property
    def is_flaw(self) -> bool:
        return self.must_hold and self.held < self.tried


def corpus() -> dict[str, Any]:
    """The attacks, by name: departments/prompts/attacks.toml."""
    return tomllib.loads(CORPUS.read_text(encoding="utf-8"))


def scores() -> list[Score]:
    """The layers that need no page: L2 to L6 and L9. L1, L7 and L8 belong to the pages."""
    return [no_secret(), cleaning(), assembly(), *scanning(), *filtering(), budgets()]


def no_secret() -> Score:
    """L2: a prompt holds none of our settings' secrets."""
    prompt = assemble(instructions=RULES, canary="c", passages=(), history=(), question="How many days?")
    sent = json.dumps(prompt.messages)
    hidden = [settings.SECRET_KEY, settings.REDIS_URL, *(str(each["PASSWORD"]) for each in settings.DATABASES.values())]
    known = [value for value in hidden if value]
    return Score(
        "L2", "secrets of the settings that a prompt does not hold", sum(v not in sent for v in known), len(known)
    )


def cleaning() -> Score:
    """L3: invisible characters go, and those that a language needs stay."""
    cases = corpus()["invisible"]
    right = sum(clean(case["text"]).text == case["expect"] for case in cases)
    return Score("L3", "texts cleaned as they should be", right, len(cases))


def assembly() -> Score:
    """L4: whatever stands in passages, history and question, the request has the same shape."""
    texts = [*corpus()["shapes"], *corpus()["orders"]]
    return Score("L4", "requests that kept their shape", sum(map(_keeps_shape, texts)), len(texts))


def scanning() -> list[Score]:
    """L5: labels on attacks, and on honest texts, where there should be none."""
    orders, honest = corpus()["orders"], corpus()["honest"]
    found = sum(bool(scan(clean(text).text)) for text in orders)
    passed = sum(not scan(text) for text in honest)
    return [
        Score("L5", "attacks with a label (it stops none)", found, len(orders), must_hold=False),
        Score("L5", "honest texts without a label", passed, len(honest), must_hold=False),
    ]


def filtering() -> list[Score]:
    """L6: a canary, a key and the rules in every disguise, in pieces of every length; and honest answers, whole."""
    canary = secrets.token_hex(16)
    key = "-".join(("sk", "proj", secrets.token_hex(30))) + "T3Blbk" + "FJ" + secrets.token_hex(30)
    leaks = [disguise(secret) for secret in (canary, key) for disguise in DISGUISES] + [RULES, RULES.upper()]
    honest = corpus()["honest"]
    return [
        Score("L6", "leaks withheld", sum(_is_withheld(canary, leak) for leak in leaks), len(leaks)),
        Score(
            "L6", "honest answers that came whole", sum(not _is_withheld(canary, text) for text in honest), len(honest)
        ),
        Score("L6", f"µs added to a piece of an answer: {_microseconds(canary, honest):.0f}", 0, 0),
    ]


def budgets() -> Score:
    """L9: departments for which a daily budget holds, their own or their organization's."""
    limited = Limit.objects.exclude(tokens_per_day=None, person_tokens_per_day=None)
    organizations = set(limited.filter(department=None, person=None).values_list("organization_id", flat=True))
    departments_limited = set(
        limited.filter(person=None).exclude(department=None).values_list("department_id", flat=True)
    )
    active = list(Department.objects.filter(is_active=True).values_list("pk", "organization_id"))
    held = sum(pk in departments_limited or organization in organizations for pk, organization in active)
    return Score("L9", "departments with a daily budget", held, len(active), must_hold=False)


def trials() -> list[Score]:
    """L4 with the real model: the newest trial of each department, where it has tried one. A model is no boundary."""
    newest = Trial.objects.exclude(finished_at=None).order_by("department_id", "-started_at").distinct("department_id")
    return [_tried(trial) for trial in newest.select_related("department__organization")]


def _tried(trial: Trial) -> Score:
    found = trial_scores(trial.tried)
    name = f"{trial.department.organization.name}, {trial.department.name}, {trial.model}, {trial.started_at:%Y-%m-%d}"
    return Score("L4", f"trial: {name}", found["held"] + found["stopped"], len(trial.tried), must_hold=False)


def labels_seen() -> Counter[str]:
    """How often each label came up in the record of the last `REACH`."""
    recent = AuditEvent.objects.filter(at__gte=timezone.now() - REACH).exclude(labels=[])
    return Counter(label for labels in recent.values_list("labels", flat=True).iterator() for label in labels)


def _keeps_shape(text: str) -> bool:
    passages = [PassageData(1, text, text, text), PassageData(2, "a", "b", "c")]
    prompt = assemble(instructions=RULES, canary="c", passages=passages, history=[Turn("person", text)], question=text)
    lines = [message["content"].splitlines() for message in prompt.messages[1:]]
    framed = all(prompt.marker in block[0] and prompt.marker in block[-1] for block in lines)
    return framed and [len(block) for block in lines] == [4, 3, 3]


DISGUISES: tuple[Callable[[str], str], ...] = (
    str,
    lambda secret: secret[::-1],
    lambda secret: secret.encode().hex(),
    "\u00ad".join,
    *(lambda secret, before=before: base64.b64encode(b"q" * before + secret.encode()).decode() for before in range(3)),
)


def _is_withheld(canary: str, text: str) -> bool:
    return all(_stops(canary, [text[at : at + size] for at in range(0, len(text), size)]) for size in PIECES)


def _stops(canary: str, pieces: Sequence[str]) -> bool:
    output_filter = OutputFilter(canary, contains_key, RULES)
    try:
        for piece in pieces:
            output_filter.feed(piece)
        output_filter.finish()
    except Withheld:
        return True
    return False


def _microseconds(canary: str, texts: Sequence[str]) -> float:
    pieces = [text[at : at + 4] for text in texts for at in range(0, len(text), 4)]
    output_filter, started = OutputFilter(canary, contains_key, RULES), time.perf_counter()
    for piece in pieces:
        output_filter.feed(piece)
    return (time.perf_counter() - started) / len(pieces) * 1e6
