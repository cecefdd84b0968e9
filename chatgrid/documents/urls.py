"""Addresses of a department's documents."""

from __future__ import annotations

from django.urls import path

from chatgrid.documents import review, views

app_name = "documents"
urlpatterns = [
    path("d/<slug:slug>/documents/", views.list_documents, name="list"),
    path("d/<slug:slug>/documents/upload", views.upload, name="upload"),
    path("d/<slug:slug>/documents/status", views.status, name="status"),
    path("d/<slug:slug>/documents/review/", review.list_held, name="held"),
    path("d/<slug:slug>/documents/review/<uuid:version_id>/", review.read, name="review"),
    path("d/<slug:slug>/documents/review/<uuid:version_id>/decide", review.decide, name="decide"),
    path("d/<slug:slug>/documents/<uuid:document_id>/", views.detail, name="detail"),
    path("d/<slug:slug>/documents/<uuid:document_id>/delete", views.delete, name="delete"),
    path("d/<slug:slug>/documents/<uuid:document_id>/retry", views.retry, name="retry"),
    path("d/<slug:slug>/documents/<uuid:document_id>/original/<uuid:version_id>", views.original, name="original"),
]
