"""One request to the Admin API: who asks, for what, and the small readings every endpoint needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import QueryParams

from chatgrid.dev.openai_simulator.admin.company import AdminKey, Company, Project, now
from chatgrid.dev.openai_simulator.admin.memory import AdminState
from chatgrid.dev.openai_simulator.errors import ApiError, invalid

LONGEST_EXPIRY = 31_536_000


@dataclass
class Call:
    admin: AdminState
    company: Company
    actor: AdminKey
    path: Mapping[str, str]
    query: QueryParams
    body: dict[str, Any]

    def project(self) -> Project:
        """The project of the path; another organization's is not there."""
        project = self.company.projects.get(self.path["project"])
        if project is None:
            raise missing("project", self.path["project"])
        return project

    def open_project(self) -> Project:
        """The same, refused when it is archived: nothing of it can be changed any more."""
        project = self.project()
        if project.archived_at:
            raise invalid("This project is archived and cannot be changed.", None, "project_archived")
        return project

    def text(self, name: str) -> str:
        value = self.body.get(name)
        if not isinstance(value, str) or not value.strip():
            raise invalid(f"Missing required parameter: '{name}'.", name, "missing_required_parameter")
        return value

    def whole_number(self, name: str) -> int:
        value = self.body.get(name)
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise invalid(f"Invalid type for '{name}': expected a whole number.", name, "invalid_type")
        return value

    def expiry(self) -> int | None:
        """The Unix second at which `expires_in_seconds` ends, or None."""
        if self.body.get("expires_in_seconds") is None:
            return None
        seconds = self.whole_number("expires_in_seconds")
        if not 1 <= seconds <= LONGEST_EXPIRY:
            raise invalid(f"'expires_in_seconds' is 1 to {LONGEST_EXPIRY}.", "expires_in_seconds", "invalid_value")
        return now() + seconds

    def values(self, name: str) -> list[str]:
        """A list in the query, as `name[]=a&name[]=b`."""
        return self.query.getlist(f"{name}[]")

    def limit(self, default: int, most: int) -> int:
        given = self.query.get("limit", str(default))
        if not given.isdigit() or not 1 <= int(given) <= most:
            raise invalid(f"'limit' is 1 to {most}.", "limit", "invalid_value")
        return int(given)

    def page(self, items: Sequence[dict[str, Any]], default: int = 20) -> dict[str, Any]:
        """A page of a list: those after the item whose id is `after`, at most `limit`."""
        ids = [item["id"] for item in items]
        after = self.query.get("after")
        if after and after not in ids:
            raise invalid("'after' names nothing in this list.", "after", "invalid_value")
        start = ids.index(after) + 1 if after else 0
        chosen = list(items[start : start + self.limit(default, 100)])
        return {
            "object": "list",
            "data": chosen,
            "first_id": chosen[0]["id"] if chosen else None,
            "last_id": chosen[-1]["id"] if chosen else None,
            "has_more": start + len(chosen) < len(items),
        }


def missing(kind: str, id: str) -> ApiError:
    return ApiError(404, f"No such {kind}: {id}", code="not_found")
