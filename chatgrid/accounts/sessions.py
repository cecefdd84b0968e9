"""Sessions in the control database, read without a thread on the chat path."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from django.contrib.sessions.backends.db import SessionStore as DatabaseSessionStore
from django.contrib.sessions.models import Session
from django.db.models import QuerySet
from django.utils import timezone

from audit.statements import Statement


def _data(session_key: str, now: datetime) -> QuerySet[Session, tuple[str]]:
    return Session.objects.filter(session_key=session_key, expire_date__gt=now).values_list("session_data")


_DATA = Statement(_data, str, datetime)


_KEY = re.compile("[0-9a-z]{32}")  # as Django makes them; a cookie in quotes may say anything, even a NUL


class SessionStore(DatabaseSessionStore):
    """Django's own store; its asynchronous load takes the short way, and what cannot be a key is never looked for."""

    def _validate_session_key(self, key: str | None) -> bool:
        return bool(key and _KEY.fullmatch(key))

    async def aload(self) -> dict[str, Any]:
        rows = await _DATA.rows(self.session_key or "", timezone.now())
        if not rows:
            self._session_key = None
            return {}
        return self.decode(rows[0][0])
