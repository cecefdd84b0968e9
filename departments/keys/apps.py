"""Wires keys into Django."""

from __future__ import annotations

from django.apps import AppConfig


class KeysConfig(AppConfig):
    name = "departments.keys"
    label = "keys"

    def ready(self) -> None:
        from departments.keys import checks

        checks.connect()
