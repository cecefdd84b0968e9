"""The forms that ask for a code. Each number of the app is taken once, for as long as it could be taken at all.

allauth forgets a used number after half a minute, in the cache. With a tolerance of half a minute on both sides a
number fits for longer than that, and a cache may lose it: whoever saw it typed could use it once more. So it is kept
with the factor.
RFC 6238, section 5.2: https://datatracker.ietf.org/doc/html/rfc6238#section-5.2
"""

from __future__ import annotations

from allauth.core.internal.cryptokit import compare_user_code
from allauth.mfa.base import forms
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value, yield_hotp_counters_from_time
from django.db import transaction

from chatgrid.accounts.second_factor import SecondFactorAdapter

USED = "used_periods"


class _Once(forms.BaseAuthenticateForm):
    """A code that fits and was not used before."""

    authenticator: Authenticator

    def clean_code(self) -> str:
        code: str = super().clean_code()
        if self.authenticator.type == Authenticator.Type.TOTP and not _use(self.authenticator, code):
            self._emit_authentication_failed(self.authenticator)
            raise SecondFactorAdapter().validation_error("incorrect_code")
        return code


class SignInForm(_Once, forms.AuthenticateForm):
    """At the sign-in."""


class RenewForm(_Once, forms.ReauthenticateForm):
    """Where a sign-in is renewed."""


@transaction.atomic
def _use(authenticator: Authenticator, code: str) -> bool:
    """Whether a period that this number stands for is used for the first time; two at once wait for each other."""
    kept = Authenticator.objects.select_for_update().get(pk=authenticator.pk)
    secret = SecondFactorAdapter().decrypt(kept.data["secret"])
    near = list(yield_hotp_counters_from_time())
    used = [period for period in kept.data.get(USED, []) if period in near]
    fitting = [
        period
        for period in near
        if period not in used and compare_user_code(actual=code, expected=format_hotp_value(hotp_value(secret, period)))
    ]
    kept.data[USED] = used + fitting[:1]
    kept.save(update_fields=["data"])
    return bool(fitting)
