"""Wires the chat into Django."""

from __future__ import annotations

from django.apps import AppConfig


class ChatConfig(AppConfig):
    name = "chatgrid.chat"
    verbose_name = "Conversations"
