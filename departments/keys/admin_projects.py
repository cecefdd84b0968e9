"""The Admin API's projects, their service accounts and their keys. The rules are in admin_api.py."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from departments.keys.admin_calls import PAGE, AdminCalls, deleted, every, said
from departments.keys.admin_errors import AdminRejected, KeyDeletionRefused
from departments.keys.admin_values import (
    ApiKey,
    NewKey,
    Project,
    ServiceAccount,
    account_of,
    key_of,
    new_key_of,
    project_of,
)


class ProjectCalls(AdminCalls):
    """Projects, who acts in them, and with which keys."""

    def create_project(self, name: str) -> Project:
        return said("create the project", lambda: project_of(self._writes.projects.create(name=name)))

    def list_projects(self, *, include_archived: bool = False) -> list[Project]:
        return said(
            "list the projects",
            lambda: every(self._reads.projects.list(include_archived=include_archived, limit=PAGE), project_of),
        )

    def find_projects(self, name: str) -> list[Project]:
        """Active projects of exactly this name, the oldest first. OpenAI allows a name more than once."""
        found = [project for project in self.list_projects() if project.name == name and project.active]
        return sorted(found, key=lambda project: (project.created_at, project.id))

    def retrieve_project(self, project_id: str) -> Project:
        return said("look at the project", lambda: project_of(self._reads.projects.retrieve(project_id)))

    def rename_project(self, project_id: str, name: str) -> Project:
        return said("rename the project", lambda: project_of(self._writes.projects.update(project_id, name=name)))

    def archive_project(self, project_id: str) -> Project:
        """Close it for ever: it cannot be used, changed or deleted afterwards."""
        return said("archive the project", lambda: project_of(self._writes.projects.archive(project_id)))

    # -- service accounts and keys

    def create_service_account(self, project_id: str, name: str) -> ServiceAccount:
        """An account without a key and, at first, without a role (see `grant_role`)."""
        return said(
            "create the service account",
            lambda: account_of(
                self._writes.projects.service_accounts.create(project_id, name=name, create_service_account_only=True)
            ),
        )

    def grant_role(self, project_id: str, account_id: str) -> ServiceAccount:
        """Let the account act in the project: one made without defaults may do nothing."""
        return said(
            "give the service account its role",
            lambda: account_of(
                self._writes.projects.service_accounts.update(account_id, project_id=project_id, role="member")
            ),
        )

    def list_service_accounts(self, project_id: str) -> list[ServiceAccount]:
        return said(
            "list the service accounts",
            lambda: every(self._reads.projects.service_accounts.list(project_id, limit=PAGE), account_of),
        )

    def delete_service_account(self, project_id: str, account_id: str) -> bool:
        """Delete the account and every key of it. False: it was gone already."""
        return deleted(
            "delete the service account",
            lambda: self._reads.projects.service_accounts.delete(account_id, project_id=project_id),
        )

    def create_key(
        self, project_id: str, account_id: str, name: str, *, expires_in: timedelta, scopes: Sequence[str] = ()
    ) -> NewKey:
        """A further key of the account. Always with an end: the switch that works when everybody has forgotten it."""
        given: dict[str, Any] = {"scopes": list(scopes)} if scopes else {}
        return said(
            "create the key",
            lambda: new_key_of(
                self._writes.projects.service_accounts.api_keys.create(
                    account_id,
                    project_id=project_id,
                    name=name,
                    expires_in_seconds=int(expires_in.total_seconds()),
                    **given,
                )
            ),
        )

    def list_keys(self, project_id: str) -> list[ApiKey]:
        """Every enabled key of the project, also of owners who have lost their access."""
        return said(
            "list the keys",
            lambda: every(
                self._reads.projects.api_keys.list(project_id, owner_project_access="any", limit=PAGE), key_of
            ),
        )

    def delete_key(self, project_id: str, key_id: str) -> bool:
        """Delete one key. False: it was gone already. KeyDeletionRefused where only its account can be deleted."""
        try:
            return deleted(
                "delete the key", lambda: self._reads.projects.api_keys.delete(key_id, project_id=project_id)
            )
        except AdminRejected as error:
            refused = KeyDeletionRefused(str(error))
        raise refused

    def retire_key(self, project_id: str, key_id: str) -> str:
        """End a key whatever it takes: "key", "account" (its account was deleted with it) or "gone".

        AdminRejected where the account holds another key: that one would die too.
        """
        try:
            return "key" if self.delete_key(project_id, key_id) else "gone"
        except KeyDeletionRefused:
            keys = self.list_keys(project_id)
        owner = next((key.owner_id for key in keys if key.id == key_id), None)
        if owner is None:
            return "gone"
        if any(key.owner_id == owner and key.id != key_id for key in keys):
            raise AdminRejected("OpenAI will not delete this key alone, and its account holds another one in use.")
        self.delete_service_account(project_id, owner)
        return "account"
