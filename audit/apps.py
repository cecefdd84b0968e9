"""Wires the record into Django: grants are set again after every migration."""

from __future__ import annotations

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class AuditConfig(AppConfig):
    name = "audit"
    verbose_name = "Record"

    def ready(self) -> None:
        from audit.grants import apply_grants
        from audit.rollup_grants import apply_rollup_grants
        from audit.seal_grants import apply_seal_grants

        post_migrate.connect(apply_grants, sender=self, dispatch_uid="audit.grants")
        # after the other, which grants the application every ordinary table: these are none
        post_migrate.connect(apply_seal_grants, sender=self, dispatch_uid="audit.seal_grants")
        post_migrate.connect(apply_rollup_grants, sender=self, dispatch_uid="audit.rollup_grants")
