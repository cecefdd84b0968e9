"""A department's credential for its store: the one place that names and reads it.

Rules:
- It lies in the secret manager under `chatgrid/<environment>/dept/<organization>.<department>/store`, as a JSON object.
- Two companies may have departments of the same name, so the organization is part of the name; a slug
  holds no dot, so no two departments share one.
- Every real read is an event in the record, as for every secret (departments/keys/reader.py).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from psycopg.conninfo import make_conninfo

from departments.keys.reader import secret_cache
from departments.keys.secret import Secret
from departments.keys.vaults import Version
from departments.keys.vaults.names import store_password_name
from departments.models import Department

CONNECT_SECONDS = 5


@dataclass(frozen=True)
class Credential:
    """Where a store is and how to enter it. `version` is the secret's and tells an old pool from a new one.

    `role` owns the store; `login` is the one of its two login roles that this password belongs to (logins.py).
    """

    password: Secret
    role: str
    login: str
    database: str
    host: str
    port: int
    tls: str
    version: str

    def conninfo(self) -> str:
        """The libpq connection string. It holds the password: it goes to a pool and nowhere else."""
        return make_conninfo(
            "",
            host=self.host,
            port=self.port,
            dbname=self.database,
            user=self.login,
            password=self.password.reveal(),
            connect_timeout=CONNECT_SECONDS,
            application_name="chatgrid-store",
            **({"sslmode": self.tls} if self.tls else {}),
        )


def credential_name(department: Department) -> str:
    """The secret's name."""
    return store_password_name(settings.ENVIRONMENT, f"{department.organization.slug}.{department.slug}")


async def store_credential(department: Department) -> Credential:
    """The department's current credential. Raises VaultError, or DatabaseDown where the read cannot be recorded."""
    return parse_credential(await secret_cache().get(credential_name(department), department.store_epoch))


def forget_credential(department: Department) -> None:
    """The store did not take the credential: the next call reads it from the secret manager again."""
    secret_cache().forget(credential_name(department))


def parse_credential(version: Version) -> Credential:
    """The credential in a secret's value."""
    fields = json.loads(version.value.reveal())
    return Credential(
        password=Secret(fields["password"]),
        role=fields["role"],
        login=fields.get("login") or fields["role"],
        database=fields["database"],
        host=fields["host"],
        port=int(fields["port"]),
        tls=fields.get("tls", ""),
        version=version.version_id,
    )


def credential_value(place: dict[str, Any], password: str, login: str = "") -> Secret:
    """A credential as it is written to the secret manager; `place` has role, database, host, port and tls."""
    return Secret(json.dumps({"v": 1, "password": password, **({"login": login} if login else {}), **place}))


def with_password(credential: Credential, login: str, password: str) -> Secret:
    """The same store, entered by this login role with this password."""
    names = ("role", "database", "host", "port", "tls")
    return credential_value({name: getattr(credential, name) for name in names}, password, login)
