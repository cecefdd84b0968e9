"""What allauth may do here."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial, wraps
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.core.context import request_context
from django.http import HttpRequest, HttpResponse

from departments.http import client_address

logger = logging.getLogger(__name__)

LETTERS = "letters_after_the_answer"


class AccountAdapter(DefaultAccountAdapter):
    """People are made by IT: nobody signs up."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def get_client_ip(self, request: HttpRequest) -> str:
        """Whom the library's limits count: the browser, as everywhere here, and never all of them as one proxy."""
        return client_address(request) or "unknown"

    def send_password_reset_mail(self, user: Any, email: str, context: dict[str, Any]) -> None:
        """Once the answer is out (`mails_later`): the time that a mail server takes would tell who has an account."""
        getattr(self.request, LETTERS).append(partial(self._send, user, email, context))

    def _send(self, user: Any, email: str, context: dict[str, Any]) -> None:
        try:
            with request_context(self.request):
                super().send_password_reset_mail(user, email, context)
        except Exception as error:  # nobody waits for it any more: the operator reads of it here
            logger.error("password link of person %s not sent: %s", user.pk, type(error).__name__)


def mails_later(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Decorator: what this view has to mail is sent when its answer has been, whatever becomes of the mail."""

    @wraps(view)
    def sending(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        letters: list[Callable[[], None]] = []
        setattr(request, LETTERS, letters)
        response = view(request, *args, **kwargs)
        response._resource_closers.extend(letters)  # type: ignore[attr-defined]  # what Django closes with the answer
        return response

    return sending
