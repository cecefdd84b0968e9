"""Sign-in, sign-out, passwords and the second factor: allauth's views, those of them that ChatGrid offers, each stamped
with its rule.
"""

from __future__ import annotations

from typing import Any, cast

from allauth.account import views
from allauth.mfa.base import views as factor
from allauth.mfa.recovery_codes import views as codes
from allauth.mfa.totp import views as totp
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import redirect
from django.urls import path, re_path, reverse

from chatgrid.accounts.adapter import mails_later
from chatgrid.accounts.second_factor import draw_code, has_second_factor
from chatgrid.flood import shield
from departments.http import public, require_person

sign_in = public(shield("sign_in")(views.login))
reset = public(shield("sign_in")(mails_later(views.password_reset)))


def _public(view: Any) -> Any:
    return public(shield("sign_in")(view))


def _private(view: Any) -> Any:
    """Signed in, and asked for a password: guessing it is slowed down all the same."""
    return require_person(shield("sign_in")(view))


def reauthenticate(request: HttpRequest) -> HttpResponseBase:
    """A password is not asked of whoever has a second factor: it alone could take that factor off."""
    if has_second_factor(request.user):
        return redirect(f"{reverse('mfa_reauthenticate')}?{request.GET.urlencode()}")
    return cast(HttpResponseBase, views.reauthenticate(request))


urlpatterns = [
    path("accounts/login/", sign_in, name="account_login"),
    path("accounts/logout/", _public(views.logout), name="account_logout"),
    path("accounts/password/change/", _private(views.password_change), name="account_change_password"),
    path("accounts/password/set/", _private(views.password_set), name="account_set_password"),
    path("accounts/password/reset/", reset, name="account_reset_password"),
    path("accounts/password/reset/done/", _public(views.password_reset_done), name="account_reset_password_done"),
    re_path(  # the key holds dashes itself: the first one ends the id
        r"^accounts/password/reset/key/(?P<uidb36>[0-9A-Za-z]+)-(?P<key>.+)/$",
        _public(views.password_reset_from_key),
        name="account_reset_password_from_key",
    ),
    path(
        "accounts/password/reset/key/done/",
        _public(views.password_reset_from_key_done),
        name="account_reset_password_from_key_done",
    ),
    path("accounts/inactive/", _public(views.account_inactive), name="account_inactive"),
    path("accounts/reauthenticate/", _private(reauthenticate), name="account_reauthenticate"),
    path("accounts/second-factor/", _private(factor.index), name="mfa_index"),
    path("accounts/second-factor/sign-in/", _public(factor.authenticate), name="mfa_authenticate"),
    path("accounts/second-factor/renew/", _private(factor.reauthenticate), name="mfa_reauthenticate"),
    path("accounts/second-factor/app/", _private(totp.activate_totp), name="mfa_activate_totp"),
    path("accounts/second-factor/app/code.svg", _private(draw_code), name="mfa_draw_code"),
    path("accounts/second-factor/app/off/", _private(totp.deactivate_totp), name="mfa_deactivate_totp"),
    path("accounts/second-factor/codes/", _private(codes.view_recovery_codes), name="mfa_view_recovery_codes"),
    path(
        "accounts/second-factor/codes/new/", _private(codes.generate_recovery_codes), name="mfa_generate_recovery_codes"
    ),
    path(
        "accounts/second-factor/codes/file/",
        _private(codes.download_recovery_codes),
        name="mfa_download_recovery_codes",
    ),
]
