"""Addresses of the chat."""

from __future__ import annotations

from django.urls import path

from chatgrid.chat import budget_views, views

app_name = "chat"
urlpatterns = [
    path("d/<slug:slug>/", views.new, name="new"),
    path("d/<slug:slug>/ask", views.ask_new, name="ask_new"),
    path("c/<uuid:conversation_id>/", views.conversation, name="conversation"),
    path("c/<uuid:conversation_id>/ask", views.ask_in, name="ask"),
    path("c/<uuid:conversation_id>/rename", views.rename, name="rename"),
    path("c/<uuid:conversation_id>/delete", views.delete, name="delete"),
    path("d/<slug:slug>/budget/", budget_views.budget, name="budget"),
    path("d/<slug:slug>/budget/ask", budget_views.ask, name="budget_ask"),
    path("d/<slug:slug>/budget/<uuid:asked_id>", budget_views.answer, name="budget_answer"),
    path("d/<slug:slug>/budget/grants/<uuid:grant_id>/end", budget_views.end_grant, name="budget_end_grant"),
    path("answers/<uuid:call_id>/stop", views.stop, name="stop"),
]
