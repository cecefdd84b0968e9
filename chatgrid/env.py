"""Typed readers of the environment. A value that cannot be read stops the start and says what to do."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

TRUE, FALSE = {"1", "true", "yes", "on"}, {"0", "false", "no", "off"}


def read_str(name: str, default: str | None = None) -> str:
    """The text of `name`; without a default it must be set."""
    value = os.environ.get(name, default)
    if value is None:
        raise ImproperlyConfigured(f"{name} is not set. `make run` sets it; elsewhere set it in the environment.")
    return value


def read_int(name: str, default: int) -> int:
    value = os.environ.get(name, str(default))
    try:
        return int(value)
    except ValueError:
        raise ImproperlyConfigured(f"{name} is {value!r}; it must be a whole number.") from None


def read_bool(name: str, default: bool) -> bool:
    value = os.environ.get(name, str(default)).lower()
    if value not in TRUE | FALSE:
        raise ImproperlyConfigured(f"{name} is {value!r}; it must be one of true, false, 1, 0, yes, no, on, off.")
    return value in TRUE


def read_choice(name: str, choices: tuple[str, ...], default: str) -> str:
    value = os.environ.get(name, default)
    if value not in choices:
        raise ImproperlyConfigured(f"{name} is {value!r}; it must be one of {', '.join(choices)}.")
    return value


def read_list(name: str, default: str = "") -> list[str]:
    """A comma-separated list; blanks around entries and empty entries are dropped."""
    return [entry.strip() for entry in os.environ.get(name, default).split(",") if entry.strip()]


def read_curves(name: str) -> dict[str, tuple[float, float, float]]:
    """A comma-separated list; each entry is a model's name and three numbers, with spaces between."""
    curves = {}
    for entry in read_list(name):
        try:
            model, *numbers = entry.split()
            similarity, coverage, bias = map(float, numbers)
        except ValueError:
            wanted = "a model's name and three numbers, like “text-embedding-3-small 9.0 4.5 -5.0”"
            raise ImproperlyConfigured(f"{name} holds {entry!r}; it must be {wanted}.") from None
        curves[model] = similarity, coverage, bias
    return curves


def read_path(name: str, default: Path) -> Path:
    return Path(os.environ.get(name, str(default))).resolve()


def read_database(name: str, default: str | None = None) -> dict[str, Any]:
    """A `postgresql://role:password@host:port/database` URL as an entry of DATABASES."""
    parts = urlsplit(read_str(name, default))
    if parts.scheme not in {"postgresql", "postgres"} or not parts.path.strip("/"):
        raise ImproperlyConfigured(f"{name} must look like postgresql://role:password@host:port/database.")
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.strip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": unquote(parts.hostname or ""),
        "PORT": str(parts.port or ""),
    }
