"""Addresses of a department's assistant: its rules, the preview and the trials."""

from __future__ import annotations

from django.urls import path

from chatgrid.assistant import views

app_name = "assistant"
urlpatterns = [
    path("d/<slug:slug>/assistant/", views.rules, name="rules"),
    path("d/<slug:slug>/assistant/preview", views.preview, name="preview"),
    path("d/<slug:slug>/assistant/trials", views.try_attacks, name="try"),
    path("d/<slug:slug>/assistant/trials/<uuid:trial_id>/", views.trial, name="trial"),
]
