"""What each role may do with each secret manager (deploy/) is what its code does, and nothing more.

The code runs against the managers' stand-ins, which note every call; each must be allowed by the role's policy, and
each right in a policy must have been used. AWS's calls are taken from the SDK's own event hooks.
"""

from __future__ import annotations

import asyncio
import fnmatch
import json
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from departments.documents.credentials import credential_value
from departments.keys import admin_key, reader, sealing
from departments.keys import rotation as rotating
from departments.keys.cache import SecretCache
from departments.keys.rotation import By
from departments.keys.rotation_models import Rotation
from departments.keys.rotation_subjects import admin_key_of, store_password_of
from departments.keys.vaults import Vault, Version
from departments.keys.vaults.names import inbox_name
from tests.company import Company, give_key, make_key
from tests.departments.keys.rotating import Clock, MemoryProvider, Stage
from tests.openai_admin import make_admin_key

DEPLOY = Path(__file__).resolve().parents[3] / "deploy"
ROLES = ("web", "worker", "rotator", "sealer")
BACKENDS = ("aws", "hashicorp", "azure", "gcp")
# what AWS asks for beside the call itself
IMPLIED = {
    "secretsmanager:CreateSecret": ("secretsmanager:TagResource", "kms:GenerateDataKey", "kms:Decrypt"),
    "secretsmanager:PutSecretValue": ("kms:GenerateDataKey", "kms:Decrypt"),
    "secretsmanager:GetSecretValue": ("kms:Decrypt",),
}
KINDS = ("dept", "inbox", "org", "record")
PLACE = {"role": "cg_1", "database": "cg_1", "host": "db", "port": 5432, "tls": ""}

Call = tuple[str, str]  # what was done, to what


@dataclass(frozen=True)
class Right:
    """One action on one set of names."""

    action: str
    names: str

    def allows(self, call: Call) -> bool:
        return call[0] == self.action and fnmatch.fnmatchcase(call[1], self.names)


# -- the policies, as their files say


def aws_rights(role: str) -> list[Right]:
    statements = json.loads((DEPLOY / "iam" / f"{role}.json").read_text())["Statement"]
    assert all(statement["Effect"] == "Allow" for statement in statements)
    rights = []
    for statement in statements:
        name = "*" if statement["Resource"].startswith("arn:aws:kms") else statement["Resource"].split(":secret:")[1]
        rights += [Right(action, here(name)) for action in statement["Action"]]
    return rights


def hashicorp_rights(role: str) -> list[Right]:
    text = (DEPLOY / "vault" / f"{role}.hcl").read_text()
    rules = re.findall(r'path "([^"]+)" \{\s+capabilities = \[([^\]]+)\]', text)
    return [
        Right(capability, here(path).replace("+", "*"))
        for path, capabilities in rules
        for capability in re.findall(r'"(\w+)"', capabilities)
    ]


def azure_rights(role: str) -> list[Right]:
    grants = json.loads((DEPLOY / "azure" / f"{role}.json").read_text())
    return [
        Right(action, f"chatgrid-test-{grant['vault']}-*")
        for grant in grants
        for action in grant["roleDefinition"]["DataActions"]
    ]


def gcp_rights(role: str) -> list[Right]:
    grants = json.loads((DEPLOY / "gcp" / f"{role}.json").read_text())
    return [
        Right(permission, here(re.search(r'startsWith\("([^"]+)"\)', grant["condition"]["expression"])[1]) + "*")  # type: ignore[index]
        for grant in grants
        for permission in grant["role"]["includedPermissions"]
    ]


RIGHTS: dict[str, Callable[[str], list[Right]]] = {
    "aws": aws_rights,
    "hashicorp": hashicorp_rights,
    "azure": azure_rights,
    "gcp": gcp_rights,
}


def here(name: str) -> str:
    """The files are for production; these tests run in an environment of their own."""
    return name.replace("production", "test")


# -- what the code does in each role


async def unrecorded(name: str, version: Version) -> None:
    """In place of the record, which needs nothing of the secret manager."""


def web(stage: Stage, company: Company) -> None:
    """Answers a question, and takes a pasted key."""
    asyncio.run(SecretCache(stage.vault, unrecorded).get(stage.name, 1))
    rotating.start_pasted(stage.department, make_key(), By(company.ivan.pk, "Ivan"))
    rotating.start_pasted(admin_key_of(company.organization), make_admin_key(), By(company.ivan.pk, "Ivan"))


def worker(stage: Stage, company: Company) -> None:
    """Embeds a document."""
    asyncio.run(SecretCache(stage.vault, unrecorded).get(stage.name, 1))


def rotator(stage: Stage, company: Company) -> None:
    """Stores the first key of a department, exchanges it, takes a pasted one, keeps the admin key, archives."""
    admin_key.store_admin_key(company.organization, make_admin_key(), uuid.uuid4().hex)
    admin_key.read_admin_key(company.organization)
    give_key(company.finance)
    stage.run(stage.start("leak"))
    pasted = stage.provider.add("person", "by hand", None)
    stage.run(Rotation.objects.get(pk=waiting_paste(stage, pasted.value, company)))
    stage.vault.delete(reader.key_name(company.finance))
    exchange_password(stage, company)


def exchange_password(stage: Stage, company: Company) -> None:
    """What exchanging a store's password does with the secret manager; the server's part is no business of a vault."""
    name, old, new = store_password_of(company.hr).secret_name, uuid.uuid4().hex, uuid.uuid4().hex
    for token, expected in ((old, None), (new, old)):
        stage.vault.stage(name, token, credential_value(PLACE, uuid.uuid4().hex))
        stage.vault.get_version(name, token)
        stage.vault.promote(name, token, expected)
        stage.vault.drop_stage(name, token)


def waiting_paste(stage: Stage, key: Any, company: Company) -> uuid.UUID:
    """What the web left in the inbox; written past the record of calls, because the web wrote it."""
    silent = stage.vault
    with not_noted(silent):
        return rotating.start_pasted(stage.department, key, By(company.ivan.pk, "Ivan")).pk


def sealer(stage: Stage, company: Company) -> None:
    """Makes the key that signs the record, reads it, and rolls it over."""
    token = sealing.stage()
    sealing.promote(token)
    sealing.current_signer()


ACTS = {"web": web, "worker": worker, "rotator": rotator, "sealer": sealer}

# -- taking notes

_noting: list[bool] = [True]


class not_noted:
    def __init__(self, _: object) -> None: ...

    def __enter__(self) -> None:
        _noting[0] = False

    def __exit__(self, *_: object) -> None:
        _noting[0] = True


class Notes(list[Call]):
    """A list that can be told to look away."""

    def append(self, call: Call) -> None:
        if _noting[0]:
            super().append(call)


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> tuple[str, Vault, Notes]:
    """A secret manager and the notes of what is done to it."""
    name, notes = request.param, Notes()
    vault = request.getfixturevalue(f"{name}_vault")
    if name == "aws":
        vault._client.meta.events.register("before-parameter-build.secretsmanager", _note_aws(notes))
        return name, vault, notes
    held = request.getfixturevalue(
        {"hashicorp": "key_value_engine", "azure": "key_vault", "gcp": "secret_manager"}[name]
    )
    held[0].calls = notes
    return name, vault, notes


def _note_aws(notes: Notes) -> Callable[..., None]:
    def note(params: dict[str, Any], model: Any, **_: Any) -> None:
        action, name = f"secretsmanager:{model.name}", params.get("SecretId") or params["Name"]
        for done in (action, *IMPLIED.get(action, ())):
            notes.append((done, name))

    return note


@pytest.fixture
def stage(backend: tuple[str, Vault, Notes], company: Company, monkeypatch: pytest.MonkeyPatch) -> Stage:
    _, vault, notes = backend
    for module in (reader, admin_key, sealing, rotating):
        monkeypatch.setattr(module, "current_vault", lambda: vault)
    monkeypatch.setattr(rotating, "_publish", lambda rotation: None)
    clock = Clock()
    stage = Stage(company.hr, vault, MemoryProvider(clock), clock)
    with not_noted(vault):
        stage.install()
    notes.clear()
    return stage


@pytest.mark.parametrize("role", ROLES)
def test_a_role_may_do_what_it_does_and_nothing_more(
    role: str, backend: tuple[str, Vault, Notes], stage: Stage, company: Company
) -> None:
    name, _, notes = backend
    ACTS[role](stage, company)
    rights = RIGHTS[name](role)
    refused = sorted({call for call in notes if not any(right.allows(call) for right in rights)})
    assert not refused, f"{role} would be refused: {refused}"
    unused = [right for right in rights if not any(right.allows(call) for call in notes)]
    assert not unused, f"take these rights away from {role}: {unused}"


FORBIDDEN = [
    ("web", "dept", "write"),
    ("web", "org", "read"),
    ("web", "record", "read"),
    ("worker", "dept", "write"),
    ("worker", "org", "read"),
    ("worker", "inbox", "read"),
    ("rotator", "record", "read"),
    ("sealer", "dept", "read"),
    ("sealer", "org", "read"),
]
WORDS = {
    "read": ("Get", "read", "getSecret", "access"),
    "write": ("Put", "Update", "create", "update", "setSecret", "add"),
}


@pytest.mark.parametrize("manager", BACKENDS)
@pytest.mark.parametrize(("role", "kind", "act"), FORBIDDEN)
def test_a_role_has_no_right_to_what_is_not_its_own(manager: str, role: str, kind: str, act: str) -> None:
    """Read from the files, so that a wildcard that grew too wide is seen."""
    held = [right for right in RIGHTS[manager](role) if any(word in right.action for word in WORDS[act])]
    examples = {
        "aws": f"chatgrid/test/{kind}/x/openai",
        "hashicorp": f"secret/data/chatgrid/test/{kind}/x/openai/labels",
        "azure": f"chatgrid-test-{kind}-x-openai",
        "gcp": f"chatgrid_2ftest_2f{kind}_2fx_2fopenai",
    }
    opened = [
        right
        for right in held
        if not right.action.startswith("kms:") and fnmatch.fnmatchcase(examples[manager], right.names)
    ]
    assert not opened


def test_a_pasted_key_waits_below_the_inbox() -> None:
    assert inbox_name("test", uuid.uuid4()).split("/")[2] in KINDS
