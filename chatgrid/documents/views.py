"""A department's documents: members read them, admins upload, retry and delete.

Rules:
- Every view gets its department through `access_department`: not yours is 404, yours without the right is 403.
- An id of a document or a version is looked up in that department's own store, so a foreign one is not there: 404.
- An original leaves as a download of no type, sandboxed: whatever is inside, no browser runs it on our origin.
- A store that is away gives a sentence and 503.
- Pages are synchronous, because their frame reads the database; what they ask of a store runs on the server's own loop,
  whose connections the chat uses too.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any, TypeAlias
from urllib.parse import urlencode
from uuid import UUID

from asgiref.sync import async_to_sync
from django.conf import settings
from django.contrib import messages
from django.core.files.base import File
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse, StreamingHttpResponse
from django.middleware.csrf import get_token
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.utils.http import content_disposition_header
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from django.views.decorators.http import require_GET, require_POST

from chatgrid.documents.forms import UploadForm
from chatgrid.documents.present import Pager, shown_passages
from chatgrid.flood import shield
from departments.access import NotFound, aaccess_department, access_department, departments_of
from departments.documents.deletion import delete_document
from departments.documents.ingest import Upload, UploadRefused, accept_upload, retry_document
from departments.documents.originals import open_original
from departments.documents.records import Document, DocumentDetail, DocumentPage, DocumentVersion, StoredPassage
from departments.documents.store import StoreDown, open_store
from departments.http import Person, PersonRequest, client_address, require_person, wants_json
from departments.models import Department
from departments.roles import GRANTED, Right

DOCUMENTS_SHOWN = 50
PASSAGES_SHOWN = 400
STATUS_IDS = 100  # as many as a page can ask about at once
PIECE = 256 * 1024  # bytes of a download that are in memory
NO_DOCUMENT = "There is no such document."

Received: TypeAlias = "UploadedFile[Any]"


def with_store(view: Any) -> Any:
    """Decorator: a store that is away becomes its sentence, for a page and for a script."""

    @wraps(view)
    async def asynchronous(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            return await view(request, *args, **kwargs)  # type: ignore[no-any-return]
        except StoreDown as down:
            return _unavailable(request, down)

    @wraps(view)
    def synchronous(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            return view(request, *args, **kwargs)  # type: ignore[no-any-return]
        except StoreDown as down:
            return _unavailable(request, down)

    return asynchronous if iscoroutinefunction(view) else synchronous


@require_GET
@require_person
@with_store
def list_documents(request: PersonRequest, slug: str) -> HttpResponse:
    """The department's documents, newest first; `q` is part of a title or file name."""
    department = _department(request, slug, Right.READ_DOCUMENTS)
    matching = request.GET.get("q", "").strip()[:200]
    page = async_to_sync(_list)(department, matching, _number(request, "from"))
    context = _common(request, department) | {
        "documents": page.documents,
        "matching": matching,
        "pager": Pager(page.offset, page.limit, page.total),
        "query": f"{urlencode({'q': matching})}&" if matching else "",
        "largest": settings.UPLOAD_BYTES,
    }
    return render(request, "documents/list.html", context)


@require_GET
@require_person
@with_store
def detail(request: PersonRequest, slug: str, document_id: UUID) -> HttpResponse:
    """A document's passages. `version` is the id of an older one, `passage` the one to begin near."""
    department = _department(request, slug, Right.READ_DOCUMENTS)
    found = async_to_sync(_get_document)(department, document_id)
    version = _chosen_version(found, request.GET.get("version"))
    offset = _number(request, "passage") // PASSAGES_SHOWN * PASSAGES_SHOWN
    passages = async_to_sync(_list_passages)(department, version, offset)
    context = _common(request, department) | {
        "document": found.document,
        "versions": found.versions,
        "version": version,
        "current": next((each for each in found.versions if each.is_current), None),
        "passages": shown_passages(passages),
        "pager": Pager(offset, PASSAGES_SHOWN, version.passages),
        "query": f"version={version.id}&",
    }
    return render(request, "documents/detail.html", context)


@csrf_exempt  # from the middleware, which would read all the files on the event loop; checked four lines below
@require_POST
@require_person
@shield("upload")
@csrf_protect
@with_store
def upload(request: PersonRequest, slug: str) -> HttpResponse:
    """Files in, one or many. A script sends one at a time and gets its row; a form gets the list page."""
    department = _department(request, slug, Right.MANAGE_DOCUMENTS)
    form = UploadForm(request.POST, request.FILES)
    if not form.is_valid():
        return _refused(request, _first_error(form))
    replaces = form.cleaned_data["replaces"]
    answers = [_take(request, department, file, replaces) for file in form.cleaned_data["documents"]]
    return answers[-1] if wants_json(request) else redirect("documents:list", department.slug)


@require_POST
@require_person
@shield("upload")
@with_store
def retry(request: PersonRequest, slug: str, document_id: UUID) -> HttpResponse:
    """Read a document again whose reading failed or waits."""
    department = _department(request, slug, Right.MANAGE_DOCUMENTS)
    found = async_to_sync(_get_document)(department, document_id)
    if not async_to_sync(retry_document)(department, request.person, document_id):
        messages.info(request, f"{found.document.title} needs no new try.")
    return redirect("documents:list", department.slug)


@require_POST
@require_person
@with_store
def delete(request: PersonRequest, slug: str, document_id: UUID) -> HttpResponse:
    """Delete a document with all its versions, passages and originals."""
    department = _department(request, slug, Right.MANAGE_DOCUMENTS)
    receipt = async_to_sync(delete_document)(department, request.person, document_id, address=client_address(request))
    if receipt is None:
        raise NotFound(NO_DOCUMENT)
    messages.success(request, f"{receipt.title} is deleted: {receipt.passages} passages and {receipt.originals} files.")
    return redirect("documents:list", department.slug)


@require_GET
@require_person
@with_store
def status(request: PersonRequest, slug: str) -> JsonResponse:
    """The rows of the documents asked about (`id`, repeated), as they are now; deleted ones are left out."""
    department = _department(request, slug, Right.READ_DOCUMENTS)
    ids = [found for each in request.GET.getlist("id")[:STATUS_IDS] if (found := _uuid(each))]
    documents = async_to_sync(_get_documents)(department, ids)
    context = _row_context(request, department)
    rows = {str(document.id): _row(context, document) for document in documents}
    return JsonResponse({"rows": rows})


@require_GET
@require_person
@shield("download")
@with_store
async def original(request: PersonRequest, slug: str, document_id: UUID, version_id: UUID) -> HttpResponseBase:
    """The file as it was uploaded. The download is in the record before its first byte leaves."""
    department = await aaccess_department(request.person, slug, Right.READ_DOCUMENTS)
    found = await _get_document(department, document_id)
    if version_id not in {version.id for version in found.versions}:
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


def _department(request: PersonRequest, slug: str, right: Right) -> Department:
    department = access_department(request.person, slug, right)
    request.department = department  # type: ignore[attr-defined]  # the shell shows where the person is
    return department


def _common(request: PersonRequest, department: Department) -> dict[str, Any]:
    return {"department": department, "can_manage": _may_manage(request.person, department)}


def _may_manage(person: Person, department: Department) -> bool:
    roles = departments_of(person).filter(department=department).values_list("role", flat=True)
    return any(Right.MANAGE_DOCUMENTS in GRANTED[role] for role in roles)


async def _list(department: Department, matching: str, offset: int) -> DocumentPage:
    async with open_store(department) as store:
        return await store.list_documents(matching=matching, offset=offset, limit=DOCUMENTS_SHOWN)


async def _get_document(department: Department, document_id: UUID) -> DocumentDetail:
    async with open_store(department) as store:
        found = await store.get_document(document_id)
    if found is None:
        raise NotFound(NO_DOCUMENT)
    return found


async def _get_documents(department: Department, ids: list[UUID]) -> list[Document]:
    async with open_store(department) as store:
        return await store.get_documents(ids)


async def _list_passages(department: Department, version: DocumentVersion, offset: int) -> list[StoredPassage]:
    async with open_store(department) as store:
        return await store.list_passages(version.id, offset=offset, limit=PASSAGES_SHOWN)


def _chosen_version(found: DocumentDetail, wanted: str | None) -> DocumentVersion:
    """The version asked for, else the one that is searched, else the newest."""
    if wanted:
        version = next((each for each in found.versions if str(each.id) == wanted), None)
        if version is None:
            raise NotFound("There is no such version.")
        return version
    return next((each for each in found.versions if each.is_current), found.versions[0])


async def _accept(request: PersonRequest, department: Department, file: Received, replaces: UUID | None) -> Upload:
    address, name = client_address(request), file.name or "document"
    return await accept_upload(department, request.person, name, file, address=address, replaces=replaces)


def _take(request: PersonRequest, department: Department, file: Received, replaces: UUID | None) -> HttpResponse:
    """Store one file. The answer is for a script; a page without one gets the sentence on the next page."""
    try:
        received = async_to_sync(_accept)(request, department, file, replaces)
    except UploadRefused as refusal:
        _say(request, messages.ERROR, f"{file.name}: {refusal.sentence}")
        return JsonResponse({"sentence": refusal.sentence}, status=422)
    sentence = ""
    if received.is_duplicate:
        sentence = f"The same file is already here as {received.version.title}: nothing was added."
        _say(request, messages.INFO, sentence)
    document = async_to_sync(_get_document)(department, received.version.document_id).document
    return JsonResponse({"row_html": _row(_row_context(request, department), document), "sentence": sentence})


def _say(request: HttpRequest, level: int, sentence: str) -> None:
    if not wants_json(request):  # a script shows the sentence itself, at once
        messages.add_message(request, level, sentence)


def _refused(request: PersonRequest, sentence: str) -> HttpResponse:
    if wants_json(request):
        return JsonResponse({"sentence": sentence}, status=400)
    return render(request, "errors/problem.html", {"title": "Not uploaded", "sentence": sentence}, status=400)


def _first_error(form: UploadForm) -> str:
    if "documents" in form.errors:
        return "Choose a file first."
    return next((str(sentence) for sentences in form.errors.values() for sentence in sentences), "Try again.")


def _row_context(request: PersonRequest, department: Department) -> dict[str, Any]:
    return _common(request, department) | {"csrf_token": get_token(request)}


def _row(context: dict[str, Any], document: Document) -> str:
    # without the request: a row has no use for the frame of a page
    return render_to_string("documents/_row.html", context | {"document": document})


def _number(request: HttpRequest, name: str) -> int:
    text = request.GET.get(name, "")
    return int(text) if text.isdecimal() and len(text) < 8 else 0


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _unavailable(request: HttpRequest, down: StoreDown) -> HttpResponse:
    problem = {"title": "Documents are away", "sentence": down.sentence, "status": 503}
    if wants_json(request):
        return JsonResponse(problem, status=503)
    return HttpResponse(render_to_string("errors/problem.html", problem), status=503)


def _attachment(filename: str) -> str:
    printable = "".join(character for character in filename if character.isprintable())
    return content_disposition_header(True, printable or "document") or "attachment"


async def _pieces(file: File[bytes]) -> AsyncIterator[bytes]:
    try:
        while piece := await asyncio.to_thread(file.read, PIECE):
            yield piece
    finally:
        await asyncio.to_thread(file.close)
