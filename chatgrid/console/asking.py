"""Leaving work for a background worker, with a sentence for the person who asked."""

from __future__ import annotations

import logging
from typing import Any

from django.contrib import messages
from django.http import HttpRequest
from kombu.exceptions import OperationalError

ASKED = "Asked. Reload this page in a few seconds."
BROKER_AWAY = "The background worker cannot be reached. Nothing was changed; try again in a minute."

logger = logging.getLogger(__name__)


def ask(request: HttpRequest, task: Any, *arguments: Any, said: str = ASKED) -> bool:
    """Leave a task; False, with a message, where the broker takes none."""
    try:
        task.apply_async(arguments, retry=False)
    except (OSError, OperationalError) as error:
        logger.error("the broker took no task: %s", type(error).__name__)
        messages.error(request, BROKER_AWAY)
        return False
    messages.success(request, said)
    return True
