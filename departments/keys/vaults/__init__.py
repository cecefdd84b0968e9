"""Secret managers, one module each, all fulfilling `base.Vault`.

To add one: copy a neighbour, add its line to BACKENDS, add its fixture to tests/departments/keys/test_vaults.py. No
other package imports a cloud SDK, and each module does so only when its vault is opened.
"""

from __future__ import annotations

from typing import Any, cast

from django.utils.module_loading import import_string

from departments.keys.vaults.base import (
    DeletionReceipt,
    Description,
    SecretMissing,
    StaleExpectation,
    TokenReused,
    Vault,
    VaultError,
    VaultRefused,
    VaultUnavailable,
    Version,
)

__all__ = [
    "BACKENDS",
    "DeletionReceipt",
    "Description",
    "SecretMissing",
    "StaleExpectation",
    "TokenReused",
    "Vault",
    "VaultError",
    "VaultRefused",
    "VaultUnavailable",
    "Version",
    "open_vault",
]

BACKENDS = {
    "local": "departments.keys.vaults.local.LocalVault",
    "aws": "departments.keys.vaults.aws.AwsVault",
    "hashicorp": "departments.keys.vaults.hashicorp.HashicorpVault",
    "azure": "departments.keys.vaults.azure.AzureVault",
    "gcp": "departments.keys.vaults.gcp.GcpVault",
}


def open_vault(kind: str, **options: Any) -> Vault:
    """The vault of this kind. Options are the parameters of its class; ValueError for an unknown kind."""
    if kind not in BACKENDS:
        raise ValueError(f"No vault of kind {kind!r}. Set CHATGRID_VAULT to one of: {', '.join(BACKENDS)}.")
    return cast(Vault, import_string(BACKENDS[kind])(**options))
