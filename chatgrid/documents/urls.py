"""Addresses of a department's documents."""

from __future__ import annotations

from django.urls import path

from chatgrid.documents import acts, bench, receipts, review, shelf, sources, use, views

app_name = "documents"
urlpatterns = [
    path("d/<slug:slug>/documents/", shelf.list_documents, name="list"),
    path("d/<slug:slug>/documents/upload", acts.upload, name="upload"),
    path("d/<slug:slug>/documents/status", shelf.status, name="status"),
    path("d/<slug:slug>/documents/review/", review.list_held, name="held"),
    path("d/<slug:slug>/documents/review/<uuid:version_id>/", review.read, name="review"),
    path("d/<slug:slug>/documents/review/<uuid:version_id>/decide", review.decide, name="decide"),
    path("d/<slug:slug>/documents/bulk", acts.bulk, name="bulk"),
    path("d/<slug:slug>/documents/sources/", sources.list_sources, name="sources"),
    path("d/<slug:slug>/documents/sources/<uuid:source_id>", sources.act_on_source, name="source"),
    path("d/<slug:slug>/documents/deleted", receipts.list_receipts, name="receipts"),
    path("d/<slug:slug>/documents/use", use.show_use, name="use"),
    path("d/<slug:slug>/documents/test/", bench.bench, name="bench"),
    path("d/<slug:slug>/documents/test/try", bench.try_question, name="try"),
    path("d/<slug:slug>/documents/test/keep", bench.keep, name="keep"),
    path("d/<slug:slug>/documents/test/measure", bench.measure, name="measure"),
    path("d/<slug:slug>/documents/test/rebuild", bench.rebuild, name="rebuild"),
    path("d/<slug:slug>/documents/test/change", bench.change, name="change"),
    path("d/<slug:slug>/documents/test/<uuid:question_id>/forget", bench.forget, name="forget"),
    path("d/<slug:slug>/documents/<uuid:document_id>/", views.detail, name="detail"),
    path("d/<slug:slug>/documents/<uuid:document_id>/delete", acts.delete, name="delete"),
    path("d/<slug:slug>/documents/<uuid:document_id>/retry", acts.retry, name="retry"),
    path("d/<slug:slug>/documents/<uuid:document_id>/cancel", acts.cancel, name="cancel"),
    path("d/<slug:slug>/documents/<uuid:document_id>/review-day", acts.review_day, name="review_day"),
    path("d/<slug:slug>/documents/<uuid:document_id>/page/<uuid:version_id>/<int:number>.png", views.page, name="page"),
    path("d/<slug:slug>/documents/<uuid:document_id>/original/<uuid:version_id>", views.original, name="original"),
]
