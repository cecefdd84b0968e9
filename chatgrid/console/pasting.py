"""The form into which a department's new key is pasted, for IT's console and for the department's own page.

Rules:
- The form only writes. What was pasted is in no page, error, message, log or event; a fingerprint tells keys apart.
- The browser is told neither to keep nor to spell-check the field, and its text is not shown while it is typed.
- The page that holds it opens with a fresh sign-in (fresh.py), and the form has its own field for the reason.
- This process puts the key into the inbox and nowhere else: it may not write where keys are read. The rotator takes it
  out, tries it, and makes it current; so a key that does not work never reaches anybody.
"""

from __future__ import annotations

import logging
from typing import Any

from django import forms
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.views.decorators.debug import sensitive_variables

from chatgrid.console.fresh import LONGEST_REASON, reason_of
from chatgrid.console.recording import record_act
from chatgrid.console.scope import viewer_of
from departments.keys.client import provider_named
from departments.keys.patterns import KeyRefused, validate_pasted_key
from departments.keys.provisioning import PROVIDER_UNKNOWN
from departments.keys.rotation import By, RotationError, start_pasted
from departments.keys.rotation_models import Rotation
from departments.keys.rotation_subjects import Subject, admin_key_of, key_of
from departments.keys.secret import Secret
from departments.keys.vaults import VaultError
from departments.models import Department, Organization

AWAY = "The secret manager did not take the key. Nothing was changed; try again in a minute."
TAKEN = "The key is being tried. {} uses it as soon as it has answered, usually within a minute."

logger = logging.getLogger(__name__)


class WriteOnlyInput(forms.PasswordInput):
    """Never shows its value. Not of type password: browsers offer to keep those."""

    input_type = "text"

    def __init__(self) -> None:
        quiet = {
            "autocomplete": "off",
            "autocapitalize": "off",
            "autocorrect": "off",
            "spellcheck": "false",
            "data-1p-ignore": "",
            "data-lpignore": "true",
            "class": "masked",
        }
        super().__init__(attrs=quiet, render_value=False)


class KeyForm(forms.Form):
    """A key for `department`. Raises nothing that holds it."""

    key = forms.CharField(
        widget=WriteOnlyInput,
        strip=False,
        required=False,  # an empty field gets its sentence from the same place as a wrong one
        help_text="A project key of this department alone. It goes to the secret manager and is never shown again.",
    )

    reason = forms.CharField(max_length=LONGEST_REASON, help_text="Why the key is exchanged; kept in the record.")

    def __init__(self, department: Department | None, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"label_suffix": "", **kwargs})
        self.department = department

    @sensitive_variables()
    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        pasted = values.pop("key", "")
        department = values.get("department", self.department)
        if department is not None:
            try:
                values["secret"] = validate_pasted_key(pasted, provider_named(department.provider).kind)
            except KeyRefused as refused:
                self.add_error("key", str(refused))
            except KeyError:
                self.add_error(None, PROVIDER_UNKNOWN.format(department.provider))
        return values


class PasteKeyForm(KeyForm):
    """The same with a choice of departments."""

    department = forms.ModelChoiceField(queryset=Department.objects.none())  # type: ignore[assignment]
    field_order = ("department", "key", "reason")

    def __init__(self, departments: QuerySet[Department], *args: Any, **kwargs: Any) -> None:
        super().__init__(None, *args, **kwargs)
        self.fields["department"].queryset = departments  # type: ignore[attr-defined]


@sensitive_variables()
def hand_in(request: HttpRequest, department: Department, form: KeyForm) -> Rotation | None:
    """Give the key of a valid form to the rotator. None, with a sentence in the form, where that cannot be."""
    return _taken(request, department, key_of(department), form)


@sensitive_variables()
def hand_in_admin_key(request: HttpRequest, organization: Organization, form: forms.Form) -> Rotation | None:
    """The same for an organization's admin key."""
    return _taken(request, organization, admin_key_of(organization), form)


@sensitive_variables()
def _taken(request: HttpRequest, shown: Model, subject: Subject, form: forms.Form) -> Rotation | None:
    try:
        return _hand_in(request, shown, subject, form.cleaned_data["secret"])
    except RotationError as refused:
        form.add_error(None, str(refused))
    except VaultError as error:
        logger.error("%s not stored: %s", subject.secret_name, type(error).__name__)
        form.add_error(None, AWAY)
    return None


@sensitive_variables()
def _hand_in(request: HttpRequest, shown: Model, subject: Subject, secret: Secret) -> Rotation:
    person = viewer_of(request)
    fingerprint = secret.fingerprint()
    act = "key pasted" if subject.department else "admin key pasted"

    def note(rotation: Rotation) -> None:
        record_act(request, shown, act, rotation=str(rotation.pk), fingerprint=fingerprint)

    return start_pasted(subject, secret, By(person.pk, str(person)), reason=reason_of(request), note=note)
