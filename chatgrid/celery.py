"""The Celery application: `celery -A chatgrid worker`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from celery import Celery
from celery.signals import beat_embedded_init, beat_init, setup_logging

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chatgrid.settings")

app = Celery("chatgrid")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(
    [
        "audit",
        "departments",
        "departments.calls",
        "departments.keys",
        "departments.limits",
        "departments.documents",
        "chatgrid.chat",
        "chatgrid.console",
    ]
)


@setup_logging.connect
def leave_logging_as_it_is(**_: object) -> None:
    """Settings have set it up; Celery's own handlers, such as that of its task loggers, would pass our filter by."""


@beat_init.connect
@beat_embedded_init.connect
def make_the_folder_of_the_schedule(sender: Any, **_: object) -> None:
    """In a fresh container nobody has made it, and the clock would end at its first tick."""
    Path(app.conf.beat_schedule_filename).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
