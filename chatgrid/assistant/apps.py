"""Wires the assistant's pages into Django. They have no models of their own."""

from __future__ import annotations

from django.apps import AppConfig


class AssistantPagesConfig(AppConfig):
    name = "chatgrid.assistant"
    label = "assistant_pages"
    verbose_name = "Assistant pages"
