"""Sessions in the control database, read without a thread on the chat path."""

from __future__ import annotations

from typing import Any

from django.contrib.sessions.backends.db import SessionStore as DatabaseSessionStore
from django.utils import timezone

from audit.database import fetch_rows


class SessionStore(DatabaseSessionStore):
    """Django's own store; only its asynchronous load takes the short way."""

    async def aload(self) -> dict[str, Any]:
        live = self.model.objects.filter(session_key=self.session_key, expire_date__gt=timezone.now())
        rows = await fetch_rows(live.values_list("session_data"))
        if not rows:
            self._session_key = None
            return {}
        return self.decode(rows[0][0])
