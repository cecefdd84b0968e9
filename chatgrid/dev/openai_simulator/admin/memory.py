"""Everything the Admin API knows, in memory and, where a file is named, in that file across restarts.

The file holds fingerprints, never a key: a laptop's projects keep their ids from one `make run` to the next.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from pydantic import TypeAdapter

from chatgrid.dev.openai_simulator.admin.books import Books
from chatgrid.dev.openai_simulator.admin.company import AdminKey, ApiKey, Company, Project, new_id, now
from chatgrid.dev.openai_simulator.admin.switches import Switches
from chatgrid.dev.openai_simulator.errors import ApiError
from chatgrid.dev.openai_simulator.keys import ADMIN_PREFIX, KeyRing, bearer, fingerprint, incorrect_key, mask

WELL_FORMED = re.compile(re.escape(ADMIN_PREFIX) + r"[A-Za-z0-9_-]{16,}")
SAVE_SECONDS = 5.0

Holder = tuple[Company, Project, ApiKey]
_COMPANIES = TypeAdapter(dict[str, Company])


@dataclass
class AdminState:
    """`ring` decides who gets into the model endpoints; keys made here are put into it and taken out of it."""

    ring: KeyRing
    file: Path | None = None
    companies: dict[str, Company] = field(default_factory=dict)
    dead_admin_keys: set[str] = field(default_factory=set)
    dead_keys: set[str] = field(default_factory=set)
    switches: Switches = field(default_factory=Switches)
    books: Books = field(default_factory=Books)
    _holders: dict[str, Holder] = field(default_factory=dict)
    _saved_at: float = 0.0

    def __post_init__(self) -> None:
        if self.file and self.file.exists():
            self._load(orjson.loads(self.file.read_bytes()))

    def reset(self) -> None:
        for known in (self.companies, self.dead_admin_keys, self.dead_keys, self._holders):
            known.clear()
        self.switches = Switches()
        self.books.reset()

    # -- who is who

    def enter(self, authorization: str | None) -> tuple[Company, AdminKey]:
        """The organization and the admin key of a request, or a 401 or 403."""
        value = bearer(authorization)
        if not value.startswith(ADMIN_PREFIX):
            message = "You have insufficient permissions for this operation. Missing scopes: api.management.read."
            raise ApiError(403, message, code="missing_scope")
        mark = fingerprint(value)
        if mark in self.dead_admin_keys or not WELL_FORMED.fullmatch(value):
            raise incorrect_key(mask(value))
        company, key = self.introduce(value)
        if key.expires_at is not None and key.expires_at <= now():
            raise incorrect_key(mask(value))
        key.last_used_at = now()
        return company, key

    def introduce(self, value: str, company_id: str = "", person: str = "") -> tuple[Company, AdminKey]:
        """Make this admin key one of that organization, or of a new one. A known one stays where it is."""
        known = self._find_admin_key(fingerprint(value))
        if known is not None:
            return known
        company_id = company_id or new_id("org")
        company = self.companies.setdefault(company_id, Company(company_id))
        return company, company.add_admin_key(value, "Introduced", person)

    def _find_admin_key(self, mark: str) -> tuple[Company, AdminKey] | None:
        for company in self.companies.values():
            for key in company.admin_keys.values():
                if key.fingerprint == mark:
                    return company, key
        return None

    def holder(self, mark: str) -> Holder | None:
        """Whose a project key is, by fingerprint."""
        return self._holders.get(mark)

    # -- project keys on the model endpoints

    def open_key(self, company: Company, project: Project, key: ApiKey) -> None:
        project.keys[key.id] = key
        self._holders[key.fingerprint] = (company, project, key)
        self._admit(project, key, self.switches.stale_seconds)

    def close_key(self, project: Project, key_id: str) -> None:
        key = project.keys.pop(key_id)
        self.dead_keys.add(key.fingerprint)
        self.ring.revoke_fingerprint(key.fingerprint, self.switches.stale_seconds)

    def _admit(self, project: Project, key: ApiKey, after_seconds: float = 0.0) -> None:
        self.ring.admit(
            key.fingerprint,
            key.redacted,
            project=project.id,
            name=key.name,
            after_seconds=after_seconds,
            until=key.expires_at,
        )

    # -- across restarts

    def save(self) -> None:
        """Write the file whole; a killed process leaves the old or the new one."""
        if self.file is None:
            return
        content = {
            "companies": orjson.loads(_COMPANIES.dump_json(self.companies)),
            "dead_admin_keys": sorted(self.dead_admin_keys),
            "dead_keys": sorted(self.dead_keys),
            "books": self.books.dump(),
        }
        beside = self.file.with_suffix(".new")
        beside.touch(mode=0o600)
        beside.write_bytes(orjson.dumps(content))
        beside.replace(self.file)
        self._saved_at = time.monotonic()

    def save_soon(self) -> None:
        """After a model call: the books are saved every few seconds, not each time."""
        if self.file and time.monotonic() - self._saved_at > SAVE_SECONDS:
            self.save()

    def _load(self, content: dict[str, Any]) -> None:
        self.companies = _COMPANIES.validate_python(content["companies"])
        self.dead_admin_keys = set(content["dead_admin_keys"])
        self.dead_keys = set(content["dead_keys"])
        self.books.load(content["books"])
        for company in self.companies.values():
            for project in company.projects.values():
                for key in project.keys.values():
                    self._holders[key.fingerprint] = (company, project, key)
                    self._admit(project, key)
        for mark in self.dead_keys:
            self.ring.revoke_fingerprint(mark)
