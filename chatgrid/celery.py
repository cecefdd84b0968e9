"""The Celery application: `celery -A chatgrid worker`."""

from __future__ import annotations

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chatgrid.settings")

app = Celery("chatgrid")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(
    ["audit", "departments", "departments.calls", "departments.keys", "departments.documents", "chatgrid.chat"]
)
