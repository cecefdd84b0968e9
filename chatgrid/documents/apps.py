"""Wires the documents pages into Django. They have no models: a department's documents live in its own store."""

from __future__ import annotations

from django.apps import AppConfig


class DocumentPagesConfig(AppConfig):
    name = "chatgrid.documents"
    label = "document_pages"  # departments.documents is called documents
    verbose_name = "Documents pages"
