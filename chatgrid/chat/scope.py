"""What a person narrowed a conversation to: one document, kinds of file, days of upload.

The choice is fields of the same form that sends the question, so it works without JavaScript. It is kept with the
conversation, and a question that is asked again is searched in the same part.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any
from uuid import UUID

from django import forms

from departments.documents.search import Scope

KINDS = (
    ("pdf", "PDF"),
    ("docx", "Word"),
    ("pptx", "PowerPoint"),
    ("xlsx", "Excel"),
    ("csv", "CSV"),
    ("html", "Web page"),
    ("markdown", "Markdown"),
    ("text", "Text"),
    ("eml", "E-mail"),
    ("epub", "Book"),
    ("json", "JSON"),
)
NO_DAY = "The {} day is no day of the calendar: write it as 2026-01-31."
WRONG_DAYS = "The first day is after the last one. Choose them again."
LONGEST_TITLE = 200


class ScopeForm(forms.Form):
    """The fields below the question. `title` is that of the document, for the page."""

    document = forms.UUIDField(required=False)
    title = forms.CharField(required=False, max_length=LONGEST_TITLE)
    kind = forms.MultipleChoiceField(required=False, choices=KINDS)
    since = forms.DateField(required=False, error_messages={"invalid": NO_DAY.format("first")})
    until = forms.DateField(required=False, error_messages={"invalid": NO_DAY.format("last")})

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if cleaned.get("since") and cleaned.get("until") and cleaned["since"] > cleaned["until"]:
            raise forms.ValidationError(WRONG_DAYS)
        return cleaned

    @property
    def sentence(self) -> str:
        """The first thing that is wrong, for the person."""
        return next((str(each) for errors in self.errors.values() for each in errors), "")

    @property
    def kept(self) -> dict[str, Any]:
        """The choice as it is kept; empty where there is none."""
        chosen = self.cleaned_data
        days = {name: chosen[name].isoformat() for name in ("since", "until") if chosen[name]}
        kinds = {"kinds": chosen["kind"]} if chosen["kind"] else {}
        document = {"document": str(chosen["document"]), "title": chosen["title"]} if chosen["document"] else {}
        return {**document, **kinds, **days}


def is_chosen(sent: Mapping[str, Any]) -> bool:
    """Whether there is a form to look at: nearly every question is asked of everything."""
    return any(sent.get(name) for name in ScopeForm.base_fields)


def scope_of(kept: Mapping[str, Any]) -> Scope:
    """What is searched, of a choice that was kept."""
    return Scope(
        documents=(UUID(kept["document"]),) if kept.get("document") else (),
        kinds=tuple(kept.get("kinds", ())),
        since=_day(kept, "since"),
        until=_day(kept, "until"),
    )


def _day(kept: Mapping[str, Any], name: str) -> date | None:
    return date.fromisoformat(kept[name]) if kept.get(name) else None
