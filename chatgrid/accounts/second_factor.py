"""The second factor: who has one, how it is kept, and what a person without one is refused.

Rules:
- It is an app that shows a new number every 30 seconds (TOTP), and ten codes for the day on which the phone is lost.
- A database reader learns neither: both are kept encrypted with a key that is derived from CHATGRID_SECRET_KEY. Keys
  of before stand in CHATGRID_OLD_SECRET_KEYS; what none of them opens matches no code at all.
- Who must have one is said by the organization and by CHATGRID_SECOND_FACTOR; the stricter counts. Without it every
  page that takes a privilege answers 403 and says where to set it up (`SecondFactorNeeded`).
- Who has one renews a sign-in with it: a password alone takes nothing off.
"""

from __future__ import annotations

import base64
import logging
import secrets
from typing import Any, cast

from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import SECRET_SESSION_KEY
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse

from departments.access import SecondFactorNeeded, is_second_factor_needed
from departments.models import SecondFactor

ISSUER = "ChatGrid"
PURPOSE = b"chatgrid second factor"

logger = logging.getLogger(__name__)


class SecondFactorAdapter(DefaultMFAAdapter):
    """allauth's second factor with our encryption."""

    def get_totp_issuer(self) -> str:
        return ISSUER

    def encrypt(self, text: str) -> str:
        return _cipher().encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        """The secret; a new one, which no code fits, where it cannot be opened."""
        try:
            return _cipher().decrypt(encrypted_text.encode()).decode()
        except InvalidToken:
            logger.error("a second factor cannot be opened: put the secret key of before into CHATGRID_OLD_SECRET_KEYS")
            return base64.b32encode(secrets.token_bytes(20)).decode()


def has_second_factor(person: Any) -> bool:
    """Whether this person's sign-in asks for more than a password."""
    return bool(Authenticator.objects.filter(user_id=person.pk, type=Authenticator.Type.TOTP).exists())


def require_second_factor(person: Any) -> None:
    """Before a page of the console. Raises SecondFactorNeeded where one is asked for and this person has none."""
    policy = person.organization.second_factor if person.organization_id else SecondFactor.OFF
    if is_second_factor_needed(policy, is_privileged=True) and not has_second_factor(person):
        raise SecondFactorNeeded


def take_off(person: Any) -> int:
    """Delete every factor of a person's; how many there were. They sign in with their password alone then."""
    deleted, _ = Authenticator.objects.filter(user_id=person.pk).delete()
    return int(deleted)


def draw_code(request: HttpRequest) -> HttpResponse:
    """The picture that an app photographs, while a factor is being set up; a page may not carry it as data."""
    secret = request.session.get(SECRET_SESSION_KEY)
    if secret is None:
        raise Http404
    adapter = SecondFactorAdapter()
    drawn = adapter.build_totp_svg(adapter.build_totp_url(cast(Any, request.user), secret))
    return HttpResponse(drawn, "image/svg+xml")


def _cipher() -> MultiFernet:
    return MultiFernet([Fernet(_key_of(secret)) for secret in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)])


def _key_of(secret: str) -> bytes:
    derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=PURPOSE).derive(secret.encode())
    return base64.urlsafe_b64encode(derived)
