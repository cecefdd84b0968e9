"""What a department admin does with documents: upload, try again, cancel, delete, choose a day of review, many at once.

Rules:
- Each needs the right to manage the department's documents, and finds its documents in that department's own store.
- A script gets JSON, a form gets the list page with sentences; both go through the same functions.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, TypeAlias
from uuid import UUID

from asgiref.sync import async_to_sync
from django.contrib import messages
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from django.views.decorators.http import require_POST

from chatgrid.documents.common import NO_DOCUMENT, department_of, get_document, uuids, with_store
from chatgrid.documents.forms import ReviewForm, UploadForm
from chatgrid.documents.shelf import rows_of
from chatgrid.flood import shield
from chatgrid.misplaced import refused_key
from departments.access import NotFound
from departments.documents.deletion import delete_document, withdraw_documents
from departments.documents.listing import Queue, set_review
from departments.documents.records import Document
from departments.documents.store import open_store
from departments.documents.uploads import Upload, UploadRefused, accept_upload, cancel_document, retry_document
from departments.http import PersonRequest, client_address, require_person, wants_json
from departments.models import Department
from departments.roles import Right

MOST_AT_ONCE = 500  # documents; as many as a page of the list shows
SENTENCES_SHOWN = 10

Received: TypeAlias = "UploadedFile[Any]"


@csrf_exempt  # from the middleware, which would read all the files on the event loop; checked four lines below
@require_POST
@require_person
@shield("upload")
@csrf_protect
@with_store
def upload(request: PersonRequest, slug: str) -> HttpResponse:
    """Files in, one or many. A script sends one at a time and gets its row; a form gets the list page."""
    department = department_of(request, slug, Right.MANAGE_DOCUMENTS)
    if (refused := refused_key(request)) is not None:
        return refused
    form = UploadForm(request.POST, request.FILES)
    if not form.is_valid():
        return _refused(request, _first_error(form))
    files = form.cleaned_data["documents"]
    if wants_json(request):
        return _take(request, department, files[-1], form.cleaned_data)
    _take_all(request, department, files, form.cleaned_data)
    return redirect("documents:list", department.slug)


@require_POST
@require_person
@shield("upload")
@with_store
def retry(request: PersonRequest, slug: str, document_id: UUID) -> HttpResponse:
    """Read a document again whose reading failed, was cancelled or waits."""
    department = department_of(request, slug, Right.MANAGE_DOCUMENTS)
    found = async_to_sync(get_document)(department, document_id)
    if not async_to_sync(retry_document)(department, request.person, document_id):
        _say(request, messages.INFO, f"{found.document.title} needs no new try.")
    return _after(request, department, document_id)


@require_POST
@require_person
@with_store
def cancel(request: PersonRequest, slug: str, document_id: UUID) -> HttpResponse:
    """End the reading of a document that waits or is being read."""
    department = department_of(request, slug, Right.MANAGE_DOCUMENTS)
    found = async_to_sync(get_document)(department, document_id)
    address = client_address(request)
    if not async_to_sync(cancel_document)(department, request.person, document_id, address=address):
        _say(request, messages.INFO, f"{found.document.title} was ready before it could be cancelled.")
    return _after(request, department, document_id)


@require_POST
@require_person
@with_store
def delete(request: PersonRequest, slug: str, document_id: UUID) -> HttpResponse:
    """Delete a document with all its versions, passages and originals."""
    department = department_of(request, slug, Right.MANAGE_DOCUMENTS)
    receipt = async_to_sync(delete_document)(department, request.person, document_id, address=client_address(request))
    if receipt is None:
        raise NotFound(NO_DOCUMENT)
    sentence = f"{receipt.title} is deleted: {receipt.passages} passages and {receipt.originals} files."
    messages.success(request, f"{sentence} The receipt is under Deleted documents.")
    return redirect("documents:list", department.slug)


@require_POST
@require_person
@shield("upload")
@with_store
def bulk(request: PersonRequest, slug: str) -> HttpResponse:
    """One act (`act`: retry, cancel, delete) for all documents chosen (`id`). Deleting asks first."""
    department = department_of(request, slug, Right.MANAGE_DOCUMENTS)
    ids = uuids(request.POST.getlist("id"), MOST_AT_ONCE)
    act = request.POST.get("act", "")
    documents = async_to_sync(_get_documents)(department, ids)
    if not documents:
        messages.info(request, "Choose documents first.")
    elif act == "delete" and request.POST.get("sure") != "1":
        context = {"department": department, "documents": documents, "count": len(documents)}
        return render(request, "documents/delete.html", context)
    elif act in {"retry", "cancel", "delete"}:
        messages.success(request, async_to_sync(_act_on_all)(request, department, act, documents))
    return redirect("documents:list", department.slug)


@require_POST
@require_person
@with_store
def review_day(request: PersonRequest, slug: str, document_id: UUID) -> HttpResponse:
    """Choose the day on which somebody wants to look at a document again, or none."""
    department = department_of(request, slug, Right.MANAGE_DOCUMENTS)
    form = ReviewForm(request.POST)
    if not form.is_valid():
        return _refused(request, "Write a day such as 2027-01-31, or leave it empty.", "Not noted")
    if not async_to_sync(_review)(department, document_id, form):
        raise NotFound(NO_DOCUMENT)
    messages.success(request, "The day of review is noted.")
    return redirect("documents:detail", department.slug, document_id)


async def _review(department: Department, document_id: UUID, form: ReviewForm) -> bool:
    async with open_store(department) as store:
        return await set_review(store, document_id, form.cleaned_data["review_on"])


async def _get_documents(department: Department, ids: list[UUID]) -> list[Document]:
    async with open_store(department) as store:
        return await store.get_documents(ids)


async def _act_on_all(request: PersonRequest, department: Department, act: str, documents: list[Document]) -> str:
    """Does it and says what came of it."""
    ids, address = [document.id for document in documents], client_address(request)
    if act == "delete":
        gone = await withdraw_documents(department, request.person, ids)
        return f"{gone} documents are out of search and lists; their receipts come under Deleted documents."
    done: Counter[bool] = Counter()
    for document_id in ids:
        if act == "cancel":
            done[await cancel_document(department, request.person, document_id, address=address)] += 1
        else:
            done[await retry_document(department, request.person, document_id)] += 1
    word = "cancelled" if act == "cancel" else "read again"
    rest = f" {done[False]} needed nothing." if done[False] else ""
    return f"{done[True]} documents {'are' if done[True] != 1 else 'is'} {word}.{rest}".replace(
        "1 documents", "1 document"
    )


def _take(request: PersonRequest, department: Department, file: Received, asked: dict[str, Any]) -> HttpResponse:
    """Store one file; the answer is for a script."""
    try:
        received = async_to_sync(_accept)(request, department, file, asked)
    except UploadRefused as refusal:
        return JsonResponse({"sentence": refusal.sentence}, status=422)
    document = async_to_sync(get_document)(department, received.version.document_id).document
    rows = rows_of(request, department, [document], Queue())
    return JsonResponse({"row_html": rows[str(document.id)], "sentence": _about(received), "id": str(document.id)})


def _take_all(request: PersonRequest, department: Department, files: list[Received], asked: dict[str, Any]) -> None:
    """Store all; what was not taken is said on the next page, as far as a page can hold it."""
    said: list[tuple[int, str]] = []
    for file in files:
        try:
            sentence = _about(async_to_sync(_accept)(request, department, file, asked))
            said += [(messages.INFO, f"{file.name}: {sentence}")] if sentence else []
        except UploadRefused as refusal:
            said.append((messages.ERROR, f"{file.name}: {refusal.sentence}"))
    for level, sentence in said[:SENTENCES_SHOWN]:
        messages.add_message(request, level, sentence)
    if len(said) > SENTENCES_SHOWN:
        messages.error(request, f"{len(said) - SENTENCES_SHOWN} more files were not added, for reasons like these.")
    if len(files) > len(said):
        added = len(files) - len(said)
        messages.success(request, f"{added} file{'s were' if added != 1 else ' was'} added and will be read now.")


def _about(received: Upload) -> str:
    """What a person should know of a file that was taken; empty for most."""
    if not received.is_duplicate:
        return ""
    return f"The same file is already here as {received.version.title}: nothing was added."


async def _accept(request: PersonRequest, department: Department, file: Received, asked: dict[str, Any]) -> Upload:
    return await accept_upload(
        department,
        request.person,
        file.name or "document",
        file,
        address=client_address(request),
        replaces=asked["replaces"],
        folder=asked["folder"],
    )


def _after(request: PersonRequest, department: Department, document_id: UUID) -> HttpResponse:
    """The row as it is now for a script, the list for a form."""
    if not wants_json(request):
        return redirect("documents:list", department.slug)
    document = async_to_sync(get_document)(department, document_id).document
    return JsonResponse({"rows": rows_of(request, department, [document], Queue())})


def _say(request: HttpRequest, level: int, sentence: str) -> None:
    if not wants_json(request):  # a script shows the row as it is, at once
        messages.add_message(request, level, sentence)


def _refused(request: PersonRequest, sentence: str, title: str = "Not uploaded") -> HttpResponse:
    if wants_json(request):
        return JsonResponse({"sentence": sentence}, status=400)
    return render(request, "errors/problem.html", {"title": title, "sentence": sentence}, status=400)


def _first_error(form: UploadForm) -> str:
    if "documents" in form.errors:
        return "Choose a file first."
    return next((str(sentence) for sentences in form.errors.values() for sentence in sentences), "Try again.")
