"""S3 with Object Lock in compliance mode: until the date nobody, the root account included, can change or delete.

The bucket must have been made with Object Lock, which also means with versions. `OPTIONS["lock_days"]` says for how
long each object is locked.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.utils import timezone
from storages.backends.s3 import S3Storage


class LockedS3Storage(S3Storage):  # type: ignore[misc]  # django-storages has no types
    """Each object is locked as it is written."""

    def get_default_settings(self) -> dict[str, Any]:
        return {**super().get_default_settings(), "lock_days": 400}

    def get_object_parameters(self, name: str) -> dict[str, Any]:
        until = timezone.now() + timedelta(days=self.lock_days)
        return {
            **super().get_object_parameters(name),
            "ObjectLockMode": "COMPLIANCE",
            "ObjectLockRetainUntilDate": until,
        }

    def read_oldest(self, name: str) -> bytes | None:
        """The first version ever written under this name, or None.

        A lock keeps it, also when other versions or a delete marker were put above it.
        """
        key = self._normalize_name(name)
        # newest first, and markers of deletion have no size; the clock of S3 alone is too coarse to tell two apart
        held = self.bucket.object_versions.filter(Prefix=key)
        versions = [each for each in held if each.object_key == key and each.size is not None]
        return bytes(versions[-1].get()["Body"].read()) if versions else None
