"""How a session becomes a person again."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from allauth.account.auth_backends import AuthenticationBackend
from django.db.models import QuerySet

from audit.statements import Statement
from chatgrid.accounts.models import User

_FIELDS = [field.attname for field in User._meta.concrete_fields]


def _person(user_id: UUID) -> QuerySet[User, tuple[Any, ...]]:
    return User.objects.filter(pk=user_id, is_active=True).order_by().values_list(*_FIELDS)


_PERSON = Statement(_person, UUID)


class AccountBackend(AuthenticationBackend):
    """allauth's backend; the person is read without a thread on the chat path."""

    async def aget_user(self, user_id: UUID) -> User | None:
        rows = await _PERSON.rows(user_id)
        return User.from_db("default", _FIELDS, rows[0]) if rows else None
