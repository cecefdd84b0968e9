"""Wires documents into Django."""

from __future__ import annotations

from django.apps import AppConfig


class DocumentsConfig(AppConfig):
    name = "departments.documents"
    label = "documents"
