"""How secrets are called, in every backend.

Rules:
- chatgrid/<environment>/dept/<department>/<use> for what belongs to one department; the web role may read
  `chatgrid/<environment>/dept/*` and nothing else.
- chatgrid/<environment>/org/<organization>/<use> for what belongs to a whole organization; only the rotator reads it.
- chatgrid/<environment>/inbox/<rotation>/<use> for a key that a person pasted: the web role writes there and the
  rotator takes it out. So the process that faces people never writes where keys are read.
- Names, unlike values, show up in the cloud's own logs: no personal data in them.
"""

from __future__ import annotations

from uuid import UUID

ROOT = "chatgrid"


def provider_key_name(environment: str, department_slug: str) -> str:
    """Where a department's key for its provider lives."""
    return f"{ROOT}/{environment}/dept/{department_slug}/openai"


def store_password_name(environment: str, department_slug: str) -> str:
    """Where the password of a department's database role lives."""
    return f"{ROOT}/{environment}/dept/{department_slug}/store"


def admin_key_name(environment: str, organization_slug: str) -> str:
    """Where an organization's key for the provider's Admin API lives. Only the rotator may read it."""
    return f"{ROOT}/{environment}/org/{organization_slug}/openai-admin"


def inbox_name(environment: str, rotation_id: UUID) -> str:
    """Where a pasted key waits for the rotator. The UUID's hex form ends in no hyphen and six characters."""
    return f"{ROOT}/{environment}/inbox/{rotation_id.hex}/openai"


def seal_key_name(environment: str) -> str:
    """Where the key lies that signs the record. Only the sealer may read it."""
    return f"{ROOT}/{environment}/record/seal"


def pepper_name(environment: str, department_slug: str) -> str:
    """Where the key lies with which a department's questions are hashed, where their text is not kept."""
    return f"{ROOT}/{environment}/dept/{department_slug}/pepper"


def tags_of(name: str) -> dict[str, str]:
    """The tags a secret of this name carries: app, and env and department where the name tells them."""
    tags = {"app": ROOT}
    match name.split("/"):
        case [root, environment, "dept", department, _] if root == ROOT:
            tags |= {"env": environment, "department": department}
        case [root, environment, *_] if root == ROOT:
            tags |= {"env": environment}
    return tags
