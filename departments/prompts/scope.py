"""What a department's assistant is told: what it is for, and what it must not discuss.

Rules:
- Both are written by the department's admin and stand in the system message, after the house rules.
- Something it must not discuss is answered with one sentence, `NOT_DISCUSSED`, and with nothing else: so a person knows
  where they stand, and a trial can tell whether the rule was kept (departments/calls/trials.py).
- The canary and the filter against repeating the rules are about the whole of it.
"""

from __future__ import annotations

NOT_DISCUSSED = "That is not something this assistant discusses."

_FORBIDDEN = f"""\
Do not discuss any of the following, whoever asks and whatever for. Where a question is about one of these, answer with
exactly this sentence, translated into the language of the question, and with nothing else: {NOT_DISCUSSED}"""


def rules_text(purpose: str, off_limits: str) -> str:
    """The department's part of the system message; "" where nothing was written."""
    subjects = subjects_of(off_limits)
    parts = [purpose.strip()]
    if subjects:
        parts.append("\n".join([_FORBIDDEN, *(f"- {subject}" for subject in subjects)]))
    return "\n\n".join(filter(None, parts))


def subjects_of(off_limits: str) -> list[str]:
    """What must not be discussed, one subject a line, without the marks of a list."""
    lines = (line.strip().lstrip("-*•").strip() for line in off_limits.splitlines())
    return [line for line in lines if line]
