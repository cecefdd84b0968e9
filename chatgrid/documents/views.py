"""One document: the text that the model sees, its versions, and the file as it was uploaded.

Rules:
- An id of a document or a version is looked up in that department's own store, so a foreign one is not there: 404.
- An original leaves as a download of no type, sandboxed: whatever is inside, no browser runs it on our origin.
- Pages are synchronous, because their frame reads the database; what they ask of a store runs on the server's own loop,
  whose connections the chat uses too.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

from asgiref.sync import async_to_sync
from django.core.files.base import File
from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import render
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_GET

from chatgrid.documents.common import (
    NO_DOCUMENT,
    common_context,
    department_of,
    get_document,
    number_in,
    number_or_none,
    with_store,
)
from chatgrid.documents.present import Pager, grouped, shown_passages
from chatgrid.flood import shield
from departments.access import NotFound, aaccess_department
from departments.documents.extracted import ExtractionFailed
from departments.documents.malware import may_leave
from departments.documents.originals import local_copy, open_original
from departments.documents.preview import draw_page, has_pages
from departments.documents.records import DocumentDetail, DocumentVersion, StoredPassage
from departments.documents.store import StoreDown, open_store
from departments.http import PersonRequest, client_address, require_person
from departments.models import Department
from departments.roles import Right

PASSAGES_SHOWN = 400
TEXT_KINDS = frozenset({"markdown", "text", "csv", "json", "html", "eml"})
SOURCE_BYTES = 200_000
GONE = (
    "No document of {} stands behind this link. If an answer led you here, the document has been deleted since: "
    "the answer keeps the passage that it cited, but nobody can check it against the document any more."
)
PIECE = 256 * 1024  # bytes of a download that are in memory


@require_GET
@require_person
@with_store
def detail(request: PersonRequest, slug: str, document_id: UUID) -> HttpResponse:
    """A document's passages. `version` is the id of an older one, `passage` the one to begin at, `cut` its cutting.

    Where there is no such document, a page says what that means for an answer that cites it: the same page for every id
    that is none of this department's.
    """
    department = department_of(request, slug, Right.READ_DOCUMENTS)
    try:
        found = async_to_sync(get_document)(department, document_id)
    except NotFound:
        gone = {"title": "This document is not here", "sentence": GONE.format(department.name), "status": 404}
        return render(request, "errors/problem.html", gone, status=404)
    version = _chosen_version(found, request.GET.get("version"))
    offset = number_in(request, "passage") // PASSAGES_SHOWN * PASSAGES_SHOWN
    cut, marked = number_or_none(request, "cut"), number_or_none(request, "passage")
    passages = async_to_sync(_list_passages)(department, version, offset, cut)
    context = common_context(request, department) | {
        "document": found.document,
        "versions": found.versions,
        "version": version,
        "current": next((each for each in found.versions if each.is_current), None),
        "passages": shown_passages(passages),
        "groups": grouped(shown_passages(passages), with_pages=has_pages(version), mark=marked),
        "source_text": async_to_sync(_source_text)(version),
        "pager": Pager(offset, PASSAGES_SHOWN, version.passages),
        "marked": marked,
        "cut": cut,
        "query": f"version={version.id}&" + (f"cut={cut}&" if cut is not None else ""),
    }
    return render(request, "documents/detail.html", context)


@require_GET
@require_person
@shield("preview")
@with_store
async def page(request: PersonRequest, slug: str, document_id: UUID, version_id: UUID, number: int) -> HttpResponseBase:
    """A page of the original as a picture, with the passages outlined; the cited one (`mark`, of `cut`) filled."""
    department = await aaccess_department(request.person, slug, Right.READ_DOCUMENTS)
    found = await get_document(department, document_id)
    version = next((each for each in found.versions if each.id == version_id), None)
    if version is None:
        raise NotFound(NO_DOCUMENT)
    try:
        async with open_store(department) as store:
            marked, cut = number_or_none(request, "mark"), number_or_none(request, "cut")
            picture = await draw_page(store, version, number, marked=marked, generation=cut)
    except (ExtractionFailed, FileNotFoundError):
        picture = None
    if picture is None:
        raise NotFound("There is no such page.")
    response = HttpResponse(picture, content_type="image/png")
    response.headers["Cache-Control"] = "private, max-age=3600"
    return response


@require_GET
@require_person
@shield("download")
@with_store
async def original(request: PersonRequest, slug: str, document_id: UUID, version_id: UUID) -> HttpResponseBase:
    """The file as it was uploaded. The download is in the record before its first byte leaves."""
    department = await aaccess_department(request.person, slug, Right.READ_DOCUMENTS)
    found = await get_document(department, document_id)
    if version_id not in {version.id for version in found.versions if may_leave(version)}:
        raise NotFound(NO_DOCUMENT)
    opened = await open_original(department, request.person, version_id, address=client_address(request))
    if opened is None:
        raise NotFound(NO_DOCUMENT)
    response = StreamingHttpResponse(_pieces(opened.file), content_type="application/octet-stream")
    response.headers["Content-Length"] = str(opened.bytes)
    response.headers["Content-Disposition"] = _attachment(opened.filename)
    response.headers["Content-Security-Policy"] = "default-src 'none'; sandbox"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


async def _source_text(version: DocumentVersion) -> str:
    """The file itself where it is text that a person can read; empty for other kinds and large ones."""
    if version.kind not in TEXT_KINDS or version.bytes > SOURCE_BYTES:
        return ""
    try:
        return await asyncio.to_thread(_read_text, version.original_key)
    except (StoreDown, FileNotFoundError):
        return ""  # the passages are there all the same


def _read_text(key: str) -> str:
    with local_copy(key) as path:
        return path.read_bytes().decode("utf-8", "replace").replace("\x00", "")


async def _list_passages(
    department: Department, version: DocumentVersion, offset: int, generation: int | None
) -> list[StoredPassage]:
    async with open_store(department) as store:
        return await store.list_passages(version.id, offset=offset, limit=PASSAGES_SHOWN, generation=generation)


def _chosen_version(found: DocumentDetail, wanted: str | None) -> DocumentVersion:
    """The version asked for, else the one that is searched, else the newest."""
    if wanted:
        version = next((each for each in found.versions if str(each.id) == wanted), None)
        if version is None:
            raise NotFound("There is no such version.")
        return version
    return next((each for each in found.versions if each.is_current), found.versions[0])


def _attachment(filename: str) -> str:
    printable = "".join(character for character in filename if character.isprintable())
    return content_disposition_header(True, printable or "document") or "attachment"


async def _pieces(file: File[bytes]) -> AsyncIterator[bytes]:
    try:
        while piece := await asyncio.to_thread(file.read, PIECE):
            yield piece
    finally:
        await asyncio.to_thread(file.close)
