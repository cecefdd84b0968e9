"""What a file may say: a name once, yes for no number, a number for no text, and lists of things of one kind.

YAML makes values of its own of what somebody writes (yes, 1e3, 2026-01-01), and a model takes most of them: `yes` would
be a limit of one cent. So each value is compared with the kind of its field before the model sees it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db.models import BooleanField, CharField, Field, IntegerField, JSONField, Model, TextField

from departments.keys.patterns import contains_key

NOTHING = "must not be empty: leave the line out, or write a value."
YES_OR_NO = "must be true or false."
NUMBER = "must be a whole number."
TEXT = "must be text: put it in quotes."
TEXTS = "must be a list of texts, each in quotes."
ADDRESSES = "must be a list of e-mail addresses."
PERCENTS = "must be a list of whole numbers from 1 to 100."
CHARACTER = "holds a character that cannot be kept."
KEY = "holds something that looks like a key: take it out, and have the key exchanged."


class OnceLoader(yaml.SafeLoader):
    """YAML in which a name stands once: of two departments with one name PyYAML would forget the first in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [each.value for each, _ in node.value if isinstance(each, yaml.ScalarNode)]
        for name in names:
            if names.count(name) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"{name} is there twice", node.start_mark)
        return super().construct_mapping(node, deep)


def read_yaml(text: str) -> Any:
    """What a file says. yaml.YAMLError where it cannot be read, or where a name stands twice."""
    return yaml.load(text, OnceLoader)  # noqa: S506 it is a SafeLoader


def set_values(row: Model, given: Mapping[str, Any]) -> None:
    """Set these fields and check the whole row. ValidationError by field, for whoever wrote the file."""
    problems = {name: _problem(row._meta.get_field(name), value) for name, value in given.items()}
    if any(problems.values()):
        raise ValidationError({name: problem for name, problem in problems.items() if problem})
    for name, value in given.items():
        setattr(row, name, value)
    row.full_clean()


def _problem(field: Any, value: Any) -> str:
    """Why this value is none of the field's, or nothing."""
    if value is None:
        return "" if field.null else NOTHING
    if isinstance(field, BooleanField):
        return "" if isinstance(value, bool) else YES_OR_NO
    if isinstance(field, IntegerField):
        return "" if _is_number(value) else NUMBER
    if isinstance(field, JSONField):
        return _problem_of_list(field, value)
    if isinstance(field, CharField | TextField):
        return _problem_of_text(value) if isinstance(value, str) else TEXT
    return ""


def _problem_of_list(field: Field[Any, Any], value: Any) -> str:
    if field.name == "alert_percents":
        fits = isinstance(value, list) and all(_is_number(each) and 1 <= each <= 100 for each in value)
        return "" if fits else PERCENTS
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        return TEXTS
    if field.name == "alert_recipients" and not all(map(_is_address, value)):
        return ADDRESSES
    return next(filter(None, map(_problem_of_text, value)), "")


def _problem_of_text(text: str) -> str:
    if "\x00" in text or any("\ud800" <= character <= "\udfff" for character in text):
        return CHARACTER
    return KEY if contains_key(text) else ""


def _is_address(text: str) -> bool:
    try:
        validate_email(text)
    except ValidationError:
        return False
    return True


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
