"""Made-up keys, built at run time so that no scanner needs an exception, and the vaults under test."""

from __future__ import annotations

import base64
import secrets
import string
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from departments.keys import rotation as rotating
from departments.keys.rotation import By
from departments.keys.vaults import Vault, open_vault
from tests.company import Company
from tests.departments.keys.managers import azure, gcp, hashicorp
from tests.departments.keys.managers.azure import KeyVault
from tests.departments.keys.managers.gcp import Secrets
from tests.departments.keys.managers.hashicorp import KeyValueEngine
from tests.departments.keys.managers.server import resolving, serving
from tests.departments.keys.rotating import Clock, MemoryProvider, Stage

ALPHABET = string.ascii_letters + string.digits + "_-"
MARK = base64.b64encode(b"OpenAI").decode()

MakeKey = Callable[..., str]


@pytest.fixture
def make_key() -> MakeKey:
    """A function: a key of this kind ("" for the oldest shape), fresh each time."""

    def make(kind: str = "proj", half: int = 58) -> str:
        if not kind:
            return "sk-" + _letters(20, string.ascii_letters) + MARK + _letters(20, string.ascii_letters)
        return "-".join(("sk", kind, _letters(half))) + MARK + _letters(half)

    return make


def _letters(length: int, alphabet: str = ALPHABET) -> str:
    # Ends in a letter: a hyphen at the end of a word is where the public rules cut keys short.
    return "".join(secrets.choice(alphabet) for _ in range(length - 1)) + secrets.choice(string.ascii_letters)


@pytest.fixture
def token() -> Callable[[], str]:
    return lambda: str(uuid.uuid4())


@pytest.fixture
def aws_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in takes any; the SDK wants some."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "A" + "KIA" + "TEST" * 4)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x" * 40)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture(scope="session")
def aws_endpoint() -> Iterator[str]:
    """Secrets Manager's stand-in on a free port of this machine, spoken to over HTTP."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def local_vault(tmp_path: Path) -> Vault:
    return open_vault("local", folder=tmp_path / "vault")


@pytest.fixture
def aws_vault(aws_endpoint: str, aws_credentials: None) -> Vault:
    return open_vault("aws", region="eu-central-1", endpoint_url=aws_endpoint)


@pytest.fixture(scope="session")
def key_value_engine() -> Iterator[tuple[KeyValueEngine, str]]:
    """HashiCorp Vault's stand-in and its address."""
    engine = KeyValueEngine()
    with serving(hashicorp.make_app(engine)) as address:
        yield engine, address


@pytest.fixture
def hashicorp_vault(key_value_engine: tuple[KeyValueEngine, str], tmp_path: Path) -> Vault:
    (tmp_path / "token").write_text(hashicorp.TOKEN)
    return open_vault("hashicorp", url=key_value_engine[1], token_file=str(tmp_path / "token"))


@pytest.fixture(scope="session")
def key_vault(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[KeyVault, str, Path]]:
    """Azure Key Vault's stand-in, its address, and the certificate to trust."""
    vault, folder = KeyVault(), tmp_path_factory.mktemp("azure")
    with serving(azure.make_app(vault), folder) as address, resolving():
        yield vault, address, folder / "ca.pem"


@pytest.fixture
def azure_vault(key_vault: tuple[KeyVault, str, Path]) -> Vault:
    return open_vault("azure", url=key_vault[1], ca_file=str(key_vault[2]), credential=azure.Credential())


@pytest.fixture(scope="session")
def secret_manager() -> Iterator[tuple[Secrets, str]]:
    """Google Secret Manager's stand-in and its address."""
    held = Secrets()
    with serving(gcp.make_app(held)) as address:
        yield held, address


@pytest.fixture
def gcp_vault(secret_manager: tuple[Secrets, str]) -> Vault:
    from google.auth.credentials import AnonymousCredentials

    return open_vault("gcp", project="chatgrid", endpoint=secret_manager[1], credentials=AnonymousCredentials())


@pytest.fixture(params=["local", "aws", "hashicorp", "azure", "gcp"])
def vault(request: pytest.FixtureRequest) -> Vault:
    """Every backend in turn. A new one adds its fixture above and its name here."""
    opened: Vault = request.getfixturevalue(f"{request.param}_vault")
    return opened


@pytest.fixture
def name() -> str:
    return f"chatgrid/test/dept/{uuid.uuid4().hex}/openai"


@pytest.fixture
def stage(company: Company, local_vault: Vault, monkeypatch: pytest.MonkeyPatch) -> Stage:
    clock = Clock()
    stage = Stage(company.hr, local_vault, MemoryProvider(clock), clock)
    monkeypatch.setattr(rotating, "current_vault", lambda: local_vault)
    monkeypatch.setattr(rotating, "_publish", lambda rotation: None)  # the tests are the worker
    return stage


@pytest.fixture
def installed(stage: Stage) -> Stage:
    stage.install()
    return stage


@pytest.fixture
def ivan(company: Company) -> By:
    return By(company.ivan.pk, company.ivan.name)
