"""How a session becomes a person again."""

from __future__ import annotations

from uuid import UUID

from allauth.account.auth_backends import AuthenticationBackend

from audit.database import fetch
from chatgrid.accounts.models import User


class AccountBackend(AuthenticationBackend):
    """allauth's backend; the person is read without a thread on the chat path."""

    async def aget_user(self, user_id: UUID) -> User | None:
        people = await fetch(User.objects.filter(pk=user_id, is_active=True))
        return people[0] if people else None
