"""Wires the door into Django."""

from __future__ import annotations

from django.apps import AppConfig


class CallsConfig(AppConfig):
    name = "departments.calls"
    label = "calls"
