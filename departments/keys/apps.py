"""Wires keys into Django."""

from __future__ import annotations

from django.apps import AppConfig


class KeysConfig(AppConfig):
    name = "departments.keys"
    label = "keys"

    def ready(self) -> None:
        from departments.keys import admin_key_rotation, checks, rotation_steps
        from departments.keys.rotation_subjects import What, register

        checks.connect()
        register(What.KEY, rotation_steps.STEPS)
        register(What.ADMIN_KEY, admin_key_rotation.STEPS)
