"""Sign-in, sign-out and passwords: allauth's views, those of them that ChatGrid offers, each stamped with its rule."""

from __future__ import annotations

from typing import Any

from allauth.account import views
from django.urls import path, re_path

from chatgrid.flood import shield
from departments.http import public, require_person

sign_in = public(shield("sign_in")(views.login))
reset = public(shield("sign_in")(views.password_reset))


def _public(view: Any) -> Any:
    return public(shield("sign_in")(view))


def _private(view: Any) -> Any:
    """Signed in, and asked for a password: guessing it is slowed down all the same."""
    return require_person(shield("sign_in")(view))


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
    path("accounts/reauthenticate/", _private(views.reauthenticate), name="account_reauthenticate"),
]
