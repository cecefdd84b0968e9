"""Wires departments into Django."""

from __future__ import annotations

from django.apps import AppConfig


class DepartmentsConfig(AppConfig):
    name = "departments"
    verbose_name = "Departments"

    def ready(self) -> None:
        from departments import provider_limits

        provider_limits.connect()
