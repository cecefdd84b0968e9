"""Wires limits into Django."""

from __future__ import annotations

from django.apps import AppConfig


class LimitsConfig(AppConfig):
    name = "departments.limits"
    label = "limits"
