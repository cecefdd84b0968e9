"""Ends the sessions of people who may not sign in any more."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.models import Session
from django.utils import timezone


def end_sessions(people: Collection[UUID]) -> int:
    """Delete every live session of these people; returns how many.

    A session does not name its person in a column, so all live ones are read: 5,000 take about a second, once in a
    while. The next request of a deleted session finds nobody signed in.
    """
    wanted = {str(person) for person in people}
    live = Session.objects.filter(expire_date__gt=timezone.now())
    ended = [s.session_key for s in live.iterator() if s.get_decoded().get(SESSION_KEY) in wanted]
    Session.objects.filter(session_key__in=ended).delete()
    return len(ended)
