"""Every address of ChatGrid."""

from __future__ import annotations

from django.urls import include, path

from chatgrid import errors, health, security_txt
from chatgrid.chat import views
from chatgrid.console import department_key, exports
from chatgrid.console.site import site

urlpatterns = [
    path("", views.home, name="home"),
    path("", include("chatgrid.chat.urls")),
    path("", include("chatgrid.documents.urls")),
    path("", include("chatgrid.assistant.urls")),
    path("", include("chatgrid.accounts.urls")),
    path("d/<slug:slug>/key/", department_key.department_key, name="department_key"),
    path("d/<slug:slug>/key/paste/", department_key.paste_department_key, name="department_key_paste"),
    path("record/export/", exports.export_record, name="export_record"),
    path("admin/", site.urls),
    path("healthz", health.health, name="health"),
    path("csp-report", health.csp_report, name="csp_report"),
    path(".well-known/security.txt", security_txt.security_txt, name="security_txt"),
]

handler400 = errors.bad_request
handler403 = errors.forbidden
handler404 = errors.not_found
handler500 = errors.server_error
