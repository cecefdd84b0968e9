"""Wires the stand-ins for development and tests into Django. Production does not install this app."""

from __future__ import annotations

from django.apps import AppConfig


class DevConfig(AppConfig):
    name = "chatgrid.dev"
    verbose_name = "Development"
