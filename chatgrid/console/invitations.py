"""The mail with which a person sets a password: sent when IT adds somebody, and again on request.

Nobody in IT ever knows a password. The link is the one of a password reset: signed, for one use, dead once the password
has changed or after PASSWORD_RESET_TIMEOUT.
"""

from __future__ import annotations

import logging
from smtplib import SMTPException

from allauth.account import app_settings
from allauth.account.adapter import get_adapter
from allauth.account.utils import user_pk_to_url_str
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest

from chatgrid.accounts.models import User

logger = logging.getLogger(__name__)


def invite(request: HttpRequest, person: User) -> None:
    """Send the mail and say so on the next page; a mail server that is away is said too and undoes nothing."""
    context = {
        "person": person,
        "url": _link(person),
        "hours": settings.PASSWORD_RESET_TIMEOUT // 3600,
        "inviter": request.user,
    }
    try:
        get_adapter(request).send_mail("console/email/invitation", person.email, context)
    except (SMTPException, OSError) as error:
        logger.error("invitation of person %s not sent: %s", person.pk, type(error).__name__)
        sentence = f"The mail to {person.email} could not be sent. Try “Send a link to set a password” later."
        messages.error(request, sentence)
        return
    messages.success(request, f"{person.email} was sent a link to set a password.")


def _link(person: User) -> str:
    token = app_settings.PASSWORD_RESET_TOKEN_GENERATOR().make_token(person)
    return str(get_adapter().get_reset_password_from_key_url(f"{user_pk_to_url_str(person)}-{token}"))
