"""Wires IT's console into Django: the admin finds its pages by itself, the system checks are registered here."""

from __future__ import annotations

from django.apps import AppConfig


class ConsoleConfig(AppConfig):
    name = "chatgrid.console"
    verbose_name = "Console"

    def ready(self) -> None:
        from chatgrid import checks

        checks.connect()
