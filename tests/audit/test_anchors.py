"""Seals go to places outside the database, and come back from there."""

from __future__ import annotations

import json
import logging
import secrets
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from django.core.exceptions import ImproperlyConfigured
from django.core.files.storage import storages
from django.test import override_settings
from django.utils import timezone
from moto.server import ThreadedMotoServer

from audit.anchors import AnchorDown, FileAnchor, StorageAnchor, SyslogAnchor, anchor_of, carry, configured, line_of
from audit.findings import Kind
from audit.seals import seals_after
from audit.signing import Seal
from audit.verification import Verifier
from chatgrid.dev.services.bootstrap import APP, SEALER
from tests.audit.places import Record, new_record


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Record]:
    """Three seals, the middle one over two events."""
    with new_record(tmp_path_factory.mktemp("record")) as made:
        made.seal()
        made.write(2)
        made.seal()
        made.seal()
        yield made


@pytest.fixture
def seals(record: Record) -> list[Seal]:
    with record.as_role(APP) as connection:
        return seals_after(connection, 0, 3)


@pytest.fixture(scope="module")
def cloud() -> Iterator[str]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(cloud: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    s3 = boto3.client("s3", endpoint_url=cloud, region_name="us-east-1")
    name = f"anchors-{secrets.token_hex(4)}"
    s3.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    options = {"bucket_name": name, "endpoint_url": cloud, "region_name": "us-east-1", "lock_days": 120}
    locked = {"anchors": {"BACKEND": "audit.storages.LockedS3Storage", "OPTIONS": options}}
    with override_settings(STORAGES={**storages.backends, **locked}):
        yield Bucket(s3, name)


@dataclass
class Bucket:
    s3: Any
    name: str


def carry_all(record: Record, *anchors: Any) -> None:
    with record.as_role(SEALER) as connection:
        carry(connection, anchors, lambda after, limit: seals_after(connection, after, limit))


def test_a_file_gives_back_what_it_was_given(tmp_path: Path, seals: list[Seal]) -> None:
    anchor = FileAnchor(tmp_path / "anchors" / "seals.jsonl")
    anchor.append(seals[:2])
    anchor.append(seals[2:])
    assert list(anchor.read(0)) == seals
    assert list(anchor.read(2)) == [seals[0], seals[2]]
    assert anchor.path.stat().st_mode & 0o777 == 0o600


def test_half_a_line_of_a_crash_is_no_seal(tmp_path: Path, seals: list[Seal]) -> None:
    anchor = FileAnchor(tmp_path / "seals.jsonl")
    anchor.append(seals)
    whole = anchor.path.read_bytes()
    anchor.path.write_bytes(whole[:-30])
    assert list(anchor.read(0)) == seals[:2]
    anchor.append(seals[2:])
    assert list(anchor.read(0)) == seals


def test_a_place_that_is_away_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AnchorDown, match="cannot be written"):
        FileAnchor(tmp_path / "file" / "seals.jsonl").append([])
    with pytest.raises(AnchorDown, match="cannot be read"):
        list(FileAnchor(tmp_path / "missing.jsonl").read(0))


def test_an_anchor_that_was_away_catches_up(tmp_path: Path, record: Record, seals: list[Seal]) -> None:
    place = tmp_path / "place"
    place.write_text("in the way")
    anchor = FileAnchor(place / "late.jsonl")
    carry_all(record, anchor)
    assert "cannot be written" in record.ask("SELECT problem FROM audit_anchor_state WHERE anchor = 'file late.jsonl'")
    place.unlink()
    carry_all(record, anchor)
    assert list(anchor.read(0)) == seals
    assert record.ask("SELECT problem FROM audit_anchor_state WHERE anchor = 'file late.jsonl'") == ""


def test_one_anchor_that_is_away_does_not_hold_up_another(tmp_path: Path, record: Record, seals: list[Seal]) -> None:
    (tmp_path / "file").write_text("")
    working = FileAnchor(tmp_path / "working.jsonl")
    carry_all(record, FileAnchor(tmp_path / "file" / "broken.jsonl"), working)
    assert list(working.read(0)) == seals


def test_an_object_store_locks_each_seal(bucket: Bucket, record: Record, seals: list[Seal]) -> None:
    anchor = StorageAnchor("anchors")
    anchor.append(seals)
    assert list(anchor.read(0)) == seals
    name = "seals/000000000001.json"
    held = bucket.s3.head_object(Bucket=bucket.name, Key=name)
    assert held["ObjectLockMode"] == "COMPLIANCE"
    assert held["ObjectLockRetainUntilDate"] > timezone.now() + timedelta(days=119)
    with pytest.raises(ClientError, match="AccessDenied"):
        bucket.s3.delete_object(
            Bucket=bucket.name, Key=name, VersionId=held["VersionId"], BypassGovernanceRetention=True
        )


def test_what_is_put_over_a_locked_seal_does_not_count(bucket: Bucket, seals: list[Seal]) -> None:
    anchor = StorageAnchor("anchors")
    anchor.append(seals)
    bucket.s3.put_object(Bucket=bucket.name, Key="seals/000000000002.json", Body=line_of(seals[0]).encode())
    bucket.s3.delete_object(Bucket=bucket.name, Key="seals/000000000003.json")
    assert list(anchor.read(0)) == seals


def test_seals_cut_off_from_the_database_are_found_in_the_object_store(
    bucket: Bucket, record: Record, seals: list[Seal]
) -> None:
    anchor = StorageAnchor("anchors")
    anchor.append(seals)
    record.tamper("DELETE FROM audit_seal WHERE n = 3")
    with record.as_role(APP) as connection:
        first = Verifier(connection, anchors=[anchor]).verify().first_fault
    assert first is not None
    assert (first.kind, first.seal) == (Kind.ANCHOR_MISSING, 3)
    record.tamper(
        "INSERT INTO audit_seal (n, at, first_seq, last_seq, root, previous, public_key, signature) VALUES"
        f" (3, '{seals[2].at.isoformat()}', 3, 2, '\\x{seals[2].root.hex()}', '\\x{seals[2].previous.hex()}',"
        f" '\\x{seals[2].public_key.hex()}', '\\x{seals[2].signature.hex()}')"
    )


def test_syslog_gets_a_line_a_seal(seals: list[Seal]) -> None:
    received = bytearray()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def take() -> None:
            connection, _ = server.accept()
            with connection:
                while data := connection.recv(4096):
                    received.extend(data)

        taker = threading.Thread(target=take)
        taker.start()
        SyslogAnchor("127.0.0.1", server.getsockname()[1], tls=False).append(seals[:2])
        taker.join(timeout=5)
    first_length, _, rest = bytes(received).partition(b" ")
    first = rest[: int(first_length)].decode()
    assert first.startswith("<109>1 ")
    assert Seal.from_json(json.loads(first[first.index("{") :])) == seals[0]
    assert SyslogAnchor("127.0.0.1", 1, tls=False).read(0) is None


def test_syslog_that_is_away_says_so(seals: list[Seal]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(AnchorDown, match="does not take seals"):
        SyslogAnchor("127.0.0.1", port, tls=False).append(seals)


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("file:///var/audit/seals.jsonl", FileAnchor),
        ("storage:anchors", StorageAnchor),
        ("syslog+tls://log.example:6514", SyslogAnchor),
    ],
)
def test_an_address_names_its_kind(address: str, kind: type) -> None:
    assert isinstance(anchor_of(address), kind)


@pytest.mark.parametrize("address", ["", "seals.jsonl", "https://log.example", "file:", "syslog:"])
def test_an_address_that_is_not_understood_stops_the_start(address: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="CHATGRID_ANCHORS"):
        anchor_of(address)


def test_at_least_one_anchor_must_be_set() -> None:
    with override_settings(AUDIT_ANCHORS=[]), pytest.raises(ImproperlyConfigured, match="is empty"):
        configured()
