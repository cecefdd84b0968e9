"""A plan as a value: what would be changed at OpenAI, from what to what, and why nothing can be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


class ProvisioningStopped(Exception):
    """A step could not be done; the message is a sentence for IT. Applying again goes on from there."""


class NameTaken(ProvisioningStopped):
    """There is a project of our name that we did not make."""

    def __init__(self, name: str, project_id: str) -> None:
        super().__init__(
            f"OpenAI already has a project named {name} ({project_id}). If it is this department's, adopt it with "
            f"`manage.py provision_departments adopt`; otherwise rename it at OpenAI."
        )


class Busy(ProvisioningStopped):
    """Another process has this project in hand."""


class PlanChanged(ProvisioningStopped):
    """The plan that was shown is not the plan any more."""


@dataclass(frozen=True)
class Change:
    """One difference: `before` is what OpenAI has (None: nothing), `after` what it would have. JSON values, no keys."""

    step: str
    sentence: str
    before: Any
    after: Any

    def line(self) -> str:
        """Such as "models: Allow these models only: every model -> gpt-6-luna"."""
        before = "nothing" if self.before in (None, [], {}) else _words(self.before)
        return f"{self.step}: {self.sentence}: {before} -> {_words(self.after) or 'none'}"


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{name} {_words(part)}" for name, part in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value)


@dataclass(frozen=True)
class NoAdminApi:
    """Instead of a plan: the department's provider has no Admin API."""

    department: str

    @property
    def sentence(self) -> str:
        return (
            f"The provider of {self.department} has no Admin API, so its project, limits and keys are looked after "
            "there by hand. Paste its key on the department's page."
        )
