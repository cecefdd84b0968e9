"""Wires documents into Django."""

from __future__ import annotations

from django.apps import AppConfig


class DocumentsConfig(AppConfig):
    name = "departments.documents"
    label = "documents"

    def ready(self) -> None:
        from departments.documents.password_rotation import STEPS
        from departments.keys.rotation_subjects import What, register

        register(What.STORE_PASSWORD, STEPS)
