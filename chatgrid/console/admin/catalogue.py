"""The models that may be called: one list for the deployment, with sizes and prices."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from chatgrid.console.admin.base import ConsoleAdmin
from chatgrid.console.scope import may_change_catalogue
from chatgrid.console.site import site
from departments.calls.models import CatalogueModel
from departments.models import Department

LONG = ("long_prompt_tokens", "long_input_times", "long_output_times")


@admin.register(CatalogueModel, site=site)
class CatalogueModelAdmin(ConsoleAdmin):
    list_display = ("name", "kind", "longest", "longest_answer", "price_in", "price_out", "shutdown_on")
    list_filter = ("kind",)
    search_fields = ("name",)
    fieldsets = (
        (None, {"fields": ("name", "kind", "context_tokens", "output_tokens", "smallest_answer", "shutdown_on")}),
        (
            "Prices",
            {
                "fields": ("price_input", "price_cached", "price_cache_write", "price_output", *LONG),
                "description": "As the provider lists them. Without them the cost of a call stays unknown, and "
                "where there is a budget in money the model is not asked at all.",
            },
        ),
    )

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may_change_catalogue(request.user)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may_change_catalogue(request.user)

    def has_delete_permission(self, request: HttpRequest, obj: CatalogueModel | None = None) -> bool:
        return may_change_catalogue(request.user) and not (obj and Department.objects.filter(model=obj.name).exists())

    @admin.display(description="tokens in all", ordering="context_tokens")
    def longest(self, model: CatalogueModel) -> str:
        return f"{model.context_tokens:,}"

    @admin.display(description="of an answer", ordering="output_tokens")
    def longest_answer(self, model: CatalogueModel) -> str:
        return f"{model.output_tokens:,}" if model.output_tokens else "-"

    @admin.display(description="US$, 1M in", ordering="price_input")
    def price_in(self, model: CatalogueModel) -> str:
        return _price(model.price_input)

    @admin.display(description="US$, 1M out", ordering="price_output")
    def price_out(self, model: CatalogueModel) -> str:
        return _price(model.price_output)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        # one at a time: a model that a department uses must stay, and only the page of one can see that
        return {name: act for name, act in super().get_actions(request).items() if name != "delete_selected"}

    def get_readonly_fields(self, request: HttpRequest, obj: CatalogueModel | None = None) -> tuple[str, ...]:
        # the name is the key under which departments and the record know it
        return ("name",) if obj else ()


def _price(dollars: Decimal | None) -> str:
    """With two digits at least, and those after them that say something: 0.75, 0.0375."""
    if dollars is None:
        return "-"
    short = f"{dollars.normalize():f}"
    return short if len(short.partition(".")[2]) > 2 else f"{dollars:.2f}"
