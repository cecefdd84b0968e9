"""Makes a company to ask about, in a process that has Django, for benches and for tests/faults; prints it as JSON."""

from __future__ import annotations

import json
import os

import django


def main() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "chatgrid.settings"
    django.setup()
    from django.core.management import call_command
    from django.middleware.csrf import _get_new_csrf_string  # a form's token, without a page to take it from
    from django.test import Client

    from tests.company import give_key, give_store, make_company

    call_command("migrate", database="owner", verbosity=0)
    company = make_company()
    key = give_key(company.hr)
    give_store(company.hr)
    member, admin = Client(), Client()
    member.force_login(company.bob)
    admin.force_login(company.alice)
    print(
        json.dumps(
            {
                "session": member.cookies["chatgrid_session"].value,
                "csrf": _get_new_csrf_string(),
                "admin_session": admin.cookies["chatgrid_session"].value,
                "admin_csrf": _get_new_csrf_string(),
                "path": "/d/hr/ask",
                "documents": "/d/hr/documents/upload",
                "key": key.reveal(),
            }
        )
    )


if __name__ == "__main__":
    main()
