"""`manage.py store_admin_key tarnholm`: put an organization's admin key into the secret manager.

The key is read from the terminal without an echo, or from standard input; never from an argument, which every process
on the machine could read. It is tried before it is stored.
"""

from __future__ import annotations

import argparse
import getpass
import sys
import uuid
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.views.decorators.debug import sensitive_variables

from departments.keys.admin_api import AdminApi, AdminApiError, store_admin_key
from departments.keys.patterns import KeyRefused, validate_admin_key
from departments.keys.secret import Secret
from departments.keys.vaults import VaultError
from departments.models import Organization


class Command(BaseCommand):
    help = "Stores the key for OpenAI's Admin API of one organization, after trying it."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("organization", help="the organization's slug")

    def handle(self, *args: Any, **options: Any) -> None:
        organization = Organization.objects.filter(slug=options["organization"]).first()
        if organization is None:
            raise CommandError(f"There is no organization {options['organization']}.")
        key = read_key()
        try:
            with AdminApi(key, _base_url()) as api:
                api.verify()
            reference = store_admin_key(organization, key, str(uuid.uuid4()))
        except (AdminApiError, VaultError) as error:
            raise CommandError(f"Nothing was stored: {error}") from None
        self.stdout.write(f"The admin key {reference.fingerprint} of {organization} is stored and works.")


@sensitive_variables()
def read_key() -> Secret:
    """The pasted key. CommandError where it cannot be an admin key; the message holds nothing of it."""
    try:
        return validate_admin_key(getpass.getpass("Admin key: ") if sys.stdin.isatty() else sys.stdin.readline())
    except KeyRefused as refused:
        raise CommandError(str(refused)) from None


def _base_url() -> str:
    urls = [provider["base_url"] for provider in settings.PROVIDERS.values() if provider["kind"] == "openai"]
    if not urls:
        raise CommandError("No provider of kind openai is set in CHATGRID_PROVIDERS, so an admin key has no use.")
    return urls[0]
