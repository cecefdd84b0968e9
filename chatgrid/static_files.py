"""Static files under names that change with their content, for as long as a browser likes to keep them."""

from __future__ import annotations

from servestatic.storage import CompressedManifestStaticFilesStorage


class StaticFiles(CompressedManifestStaticFilesStorage):  # type: ignore[misc]  # the library has no types
    """The library's storage; a script's imports name the hashed files too, so that an upgrade never mixes versions."""

    support_js_module_import_aggregation = True
