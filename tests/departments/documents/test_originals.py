"""Where uploaded files are kept: a private folder, or S3 with one setting. The S3 here is moto's server, over HTTP."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from django.core.files.storage import default_storage, storages
from django.test import override_settings
from django.urls import reverse
from moto.server import ThreadedMotoServer

from departments.documents import originals
from departments.documents.deletion import delete_document
from departments.documents.originals import StorageDown, delete_originals, open_original
from departments.documents.records import State
from departments.models import Department
from tests.company import Company, signed_in
from tests.departments.documents.shelf import LEAVE, TRAVEL, add, read, ready, upload, uploaded, version_of
from tests.provider import Provider


@pytest.fixture(scope="module")
def cloud() -> Iterator[str]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(cloud: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A bucket, and the settings that CHATGRID_ORIGINALS_BUCKET makes."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    s3 = boto3.resource("s3", endpoint_url=cloud, region_name="us-east-1")
    made = s3.create_bucket(Bucket=f"originals-{secrets.token_hex(4)}")
    options = {
        "bucket_name": made.name,
        "endpoint_url": cloud,
        "region_name": "us-east-1",
        "object_parameters": {"ServerSideEncryption": "AES256"},
    }
    chosen = {"default": {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": options}}
    with override_settings(STORAGES={**storages.backends, **chosen}):
        yield made


@pytest.fixture
def hr(company: Company, provider: Provider) -> Department:
    return ready(company.hr)


async def test_in_a_folder_nobody_but_the_product_may_look(company: Company, hr: Department) -> None:
    version = await upload(hr, company.alice, LEAVE)
    assert modes(version.original_key) == (0o600, 0o700)


async def test_on_s3_a_file_is_kept_read_downloaded_and_deleted(company: Company, hr: Department, bucket: Any) -> None:
    live = await add(hr, company.alice, LEAVE)
    assert live.state is State.LIVE
    [kept] = list(bucket.objects.all())
    assert kept.key == live.original_key
    assert kept.key.startswith(f"{hr.pk}/")
    assert "leave" not in kept.key
    assert kept.Object().server_side_encryption == "AES256"
    address = reverse("documents:original", args=["hr", live.document_id, live.id])
    client = await signed_in(company.bob)
    response = await client.get(address)
    assert b"".join([piece async for piece in response.streaming_content]).decode() == LEAVE
    assert response["Content-Disposition"].startswith("attachment;")
    stranger = await signed_in(company.dave)
    assert (await stranger.get(address)).status_code == 404
    assert await delete_document(hr, company.alice, live.document_id)
    assert list(bucket.objects.all()) == []


async def test_a_file_that_is_gone_from_the_bucket_fails_with_what_to_do(
    company: Company, hr: Department, bucket: Any
) -> None:
    version = await upload(hr, company.alice, LEAVE)
    bucket.objects.all().delete()
    assert await open_original(hr, company.alice, version.id) is None
    assert "Upload it again" in (await read(hr, version)).sentence


async def test_a_bucket_that_is_away_refuses_an_upload_and_lets_a_file_wait(
    company: Company, hr: Department, bucket: Any
) -> None:
    version = await upload(hr, company.alice, LEAVE)
    bucket.objects.all().delete()
    bucket.delete()
    with pytest.raises(StorageDown) as away:
        await upload(hr, company.alice, TRAVEL, "travel.md")
    assert "Try again" in away.value.sentence
    client = await signed_in(company.alice)
    page = await client.post(
        reverse("documents:upload", args=["hr"]),
        {"documents": [uploaded("# x")]},
        headers={"accept": "application/json"},
    )
    assert page.status_code == 503
    assert (await version_of(hr, version.id)).state is State.RECEIVED


async def test_every_file_of_a_department_goes_with_its_store(company: Company, hr: Department, bucket: Any) -> None:
    await upload(hr, company.alice, LEAVE)
    await upload(hr, company.alice, TRAVEL, "travel.md")
    bucket.put_object(Key="another-department/file", Body=b"x")
    assert delete_originals(hr) == 2
    assert [each.key for each in bucket.objects.all()] == ["another-department/file"]


async def test_what_a_backend_raises_becomes_one_sentence(hr: Department, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(default_storage, "delete", fail)
    with pytest.raises(StorageDown):
        originals.delete_original("any")


def modes(key: str) -> tuple[int, int]:
    """Who may do what with a file and with its folder."""
    path = Path(default_storage.path(key))
    return path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777
