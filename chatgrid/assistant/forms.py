"""What a department admin writes for the assistant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms

from departments.calls.rules import FIELDS
from departments.models import Department

if TYPE_CHECKING:
    DepartmentModelForm = forms.ModelForm[Department]
else:
    DepartmentModelForm = forms.ModelForm


class RulesForm(DepartmentModelForm):
    """The rules of a department; `seen` says which ones the page showed."""

    seen = forms.CharField(widget=forms.HiddenInput, max_length=64)

    class Meta:
        model = Department
        fields = FIELDS
        labels = {"instructions": "What it is for, and how it should answer"}
        widgets = {
            "instructions": forms.Textarea(attrs={"rows": 8}),
            "off_limits": forms.Textarea(attrs={"rows": 5}),
            "rules_public": forms.CheckboxInput,
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["rules_public"].widget_type = "checkbox"  # type: ignore[attr-defined]  # for templates/_field.html

    def values(self) -> dict[str, Any]:
        """The rules as they were written."""
        return {name: self.cleaned_data[name] for name in FIELDS}


class PreviewForm(forms.Form):
    """A question for which the request should be shown."""

    question = forms.CharField(
        max_length=2000,
        label="A question",
        help_text="The department's documents are searched for it, which costs a few tokens; nothing else is sent.",
        widget=forms.Textarea(attrs={"rows": 2}),
        error_messages={"required": "Write a question first."},
    )
