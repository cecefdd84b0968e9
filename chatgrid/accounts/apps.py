"""Wires accounts into Django: sign-ins and refusals go into the record."""

from __future__ import annotations

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "chatgrid.accounts"
    verbose_name = "People"

    def ready(self) -> None:
        from chatgrid.accounts import recording

        recording.connect()
