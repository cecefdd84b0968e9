"""What every page of the console shares: rights from roles, rows of the own organization, acts in the record.

Rules:
- A page inherits from `ConsoleAdmin` (or `ConsoleInline`) and cannot show a row, a choice or a history of another
  organization: all of them go through `scope.visible`.
- Deleting is not offered unless a page says so; it and what `dangers` names need a fresh sign-in and a reason.
- Django's own log of the admin is not written: the record is the one log.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import ShowFacets
from django.contrib.admin.utils import unquote
from django.contrib.admin.widgets import AutocompleteSelect, RelatedFieldWidgetWrapper
from django.core.exceptions import BadRequest, PermissionDenied, ValidationError
from django.db import IntegrityError, transaction
from django.db.models import Field, Model, QuerySet
from django.db.models.constants import LOOKUP_SEP
from django.forms import BaseModelFormSet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse

from chatgrid.console.admin.history import MOST_ACTS, history_of
from chatgrid.console.dangers import confirm_change
from chatgrid.console.fresh import require_confirmation
from chatgrid.console.recording import KINDS, record_act, record_difference, snapshot, stored
from chatgrid.console.scope import may_change, may_enter, viewer_of, visible
from departments.models import Department, Organization

if TYPE_CHECKING:
    AnyModelAdmin = admin.ModelAdmin[Any]
    AnyTabularInline = admin.TabularInline[Any, Any]
    AnyModelForm = forms.ModelForm[Any]
    AnyInlineFormSet = forms.BaseInlineFormSet[Any, Any, Any]
else:
    AnyModelAdmin, AnyTabularInline = admin.ModelAdmin, admin.TabularInline
    AnyModelForm, AnyInlineFormSet = forms.ModelForm, forms.BaseInlineFormSet

logger = logging.getLogger(__name__)

SEEN = "seen"
CHANGED_MEANWHILE = (
    "Somebody has changed this since you opened it, and nothing of yours was saved. Open the page anew to see it as it "
    "is now; its history says who it was."
)


def mark_of(obj: Model) -> str:
    """What tells one state of an object from another; "" for a thing that is not recorded.

    A department that is called something else is the same one: what an object refers to counts with its id.
    """
    if type(obj) not in KINDS:
        return ""
    told = {name: getattr(obj, f"{name}_id", value) for name, value in snapshot(obj).items()}
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()[:16]


class ConsoleForm(AnyModelForm):
    """A form whose new object belongs to the viewer's organization, unless an operator chooses one."""

    organization: Organization | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"label_suffix": "", **kwargs})
        if self.instance._state.adding and self.organization is not None and hasattr(self.instance, "organization_id"):
            self.instance.organization = self.organization

    def clean(self) -> dict[str, Any]:
        """Of two who have the same page open the second is told, instead of undoing what the first has saved."""
        cleaned = super().clean() or {}
        if self.data.get(SEEN) and not self.instance._state.adding and self.data[SEEN] != mark_of(self.instance):
            raise forms.ValidationError(CHANGED_MEANWHILE)
        return cleaned

    def add_error(self, field: str | None, error: Any) -> None:
        """A model may complain about what this page shows and lets nobody change: that stands above the fields."""
        told = error.error_dict if hasattr(error, "error_dict") else {field: error}
        for name, sentences in told.items():
            super().add_error(name if name in self.fields else None, sentences)

    def _get_validation_exclusions(self) -> set[str]:
        # Django leaves out the constraints on fields that are not in the form, and the organization often is not
        excluded: set[str] = super()._get_validation_exclusions()  # type: ignore[misc]
        return excluded - {"organization"}


class ScopedSelect(AutocompleteSelect):
    """Django's field that looks people up; a value that no id can be is no choice, and Django's would break on it."""

    def optgroups(self, name: str, value: Sequence[Any], attrs: Any = None) -> Any:
        target = self.field.target_field
        return super().optgroups(name, [each for each in value if not each or _could_hold(target, each)], attrs)


class Scoped:
    """Rights and choices, shared by pages and the lists inside them."""

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may_enter(request.user)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return may_enter(request.user)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may_change(request.user)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may_change(request.user)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_field_queryset(self, db: Any, db_field: Any, request: HttpRequest) -> Any:
        rows = super().get_field_queryset(db, db_field, request)  # type: ignore[misc]
        if rows is None:
            rows = db_field.remote_field.model._default_manager.all()
        return visible(rows, viewer_of(request))

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name in self.get_autocomplete_fields(request):  # type: ignore[attr-defined]
            kwargs.setdefault("widget", ScopedSelect(db_field, self.admin_site))  # type: ignore[attr-defined]
        return super().formfield_for_foreignkey(db_field, request, **kwargs)  # type: ignore[misc]

    def formfield_for_dbfield(self, db_field: Field[Any, Any], request: HttpRequest, **kwargs: Any) -> Any:
        formfield = super().formfield_for_dbfield(db_field, request, **kwargs)  # type: ignore[misc]
        if formfield and isinstance(formfield.widget, RelatedFieldWidgetWrapper):
            formfield.widget = formfield.widget.widget  # no windows that open from a field
        return formfield


class NamedFormSet(AnyInlineFormSet):
    """Fields in a table have no label beside them, so each says its own name."""

    def add_fields(self, form: Any, index: int | None) -> None:
        super().add_fields(form, index)
        for name, field in form.fields.items():
            named = f"Remove {form.instance}" if name == "DELETE" and not form.instance._state.adding else ""
            field.widget.attrs.setdefault("aria-label", named or str(field.label or name).capitalize())


class ConsoleInline(Scoped, AnyTabularInline):
    """A list inside another page."""

    template = "admin/edit_inline/rows.html"
    formset = NamedFormSet
    extra = 0
    show_change_link = False


class ConsoleAdmin(Scoped, AnyModelAdmin):
    """A page of the console."""

    form = ConsoleForm
    list_per_page = 50
    list_max_show_all = 0
    show_full_result_count = False
    show_facets = ShowFacets.NEVER
    view_on_site = False
    rows: tuple[str, str] | None = None
    """What one row and several are called below the list, where they are no number of what the page is called."""
    empty = ""
    """What stands on a list in which nothing is yet."""
    object_history_template = "admin/object_history.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return visible(super().get_queryset(request), viewer_of(request))

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """The object, or 404: not yours and not there look the same."""
        # no text of the database holds a NUL, and asking for one would be an error
        found = None if "\x00" in object_id else super().get_object(request, object_id, from_field)
        if found is None:
            raise Http404
        return found

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest) -> bool:
        """Only for what the list shows or filters by: any other field could be read with it, letter by letter."""
        asked = lookup.partition(LOOKUP_SEP)[0]
        field = next((each for each in self.opts.fields if asked in {each.name, each.attname}), None)
        told = {self.opts.pk.name, *map(str, self.list_display), *(_filtered(each) for each in self.list_filter)}
        return (field is None or field.name in told) and super().lookup_allowed(lookup, value, request)

    def response_action(self, request: HttpRequest, queryset: QuerySet[Any], *more: Any) -> Any:
        """What is chosen are ids; anything else was not sent by a page of ours."""
        if not all(_could_hold(self.opts.pk, each) for each in request.POST.getlist(ACTION_CHECKBOX_NAME)):
            raise BadRequest("What was chosen are no rows of this list.")
        return super().response_action(request, queryset, *more)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form: Any = super().get_form(request, obj, change, **kwargs)
        form.organization = viewer_of(request).organization
        return form

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> Any:
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except IntegrityError as error:  # the form has looked, and somebody else was faster than it could save
            logger.warning("not saved, because another row was there first: %s", error)
            messages.error(request, "Somebody has just saved the same. Nothing of yours was saved: look at the list.")
            return redirect(f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist")

    def render_change_form(
        self,
        request: HttpRequest,
        context: Any,
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: Any = None,
    ) -> Any:
        # what the person has typed stands in `obj` by now, so a page that comes back keeps the mark it came with
        context[SEEN] = request.POST.get(SEEN, "") if request.method == "POST" or obj is None else mark_of(obj)
        return super().render_change_form(request, context, add, change, form_url, obj)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        before = stored(obj) if change else {}
        confirm_change(request, obj, before)
        super().save_model(request, obj, form, change)
        if change:
            record_difference(request, obj, before, snapshot(obj))
        else:
            record_act(request, obj, "added", after=snapshot(obj))

    def save_formset(self, request: HttpRequest, form: Any, formset: BaseModelFormSet[Any, Any], change: bool) -> None:
        formset.save(commit=False)
        for obj in formset.deleted_objects:
            require_confirmation(request, f"Remove the {obj._meta.verbose_name} “{obj}”.")
            record_act(request, obj, "removed", before=stored(obj))
            obj.delete()
        for obj, _ in formset.changed_objects:
            before = stored(obj)
            confirm_change(request, obj, before)
            obj.save()
            record_difference(request, obj, before, snapshot(obj))
        for obj in formset.new_objects:
            confirm_change(request, obj, {})
            obj.save()
            record_act(request, obj, "added", after=snapshot(obj))

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        require_confirmation(request, f"Delete the {obj._meta.verbose_name} “{obj}”.")
        record_act(request, obj, "deleted", before=stored(obj))
        super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        require_confirmation(request, f"Delete {counted(len(queryset), self.opts)}.")
        with transaction.atomic():
            for obj in queryset:
                self.delete_model(request, obj)

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        return None

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        return None

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        return None

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        """What IT did to this object, from the record, newest first."""
        obj = self.get_object(request, unquote(object_id))
        if not self.has_view_permission(request, obj):
            raise PermissionDenied
        context = {
            **self.admin_site.each_context(request),
            "title": f"History of {obj}",
            "opts": self.opts,
            "original": obj,
            "acts": history_of(viewer_of(request), obj),
            "most": MOST_ACTS,
        }
        return TemplateResponse(request, self.object_history_template, context)


class DepartmentFilter(admin.SimpleListFilter):
    """A list by department; offers the viewer's own departments only."""

    title = "department"
    parameter_name = "department"
    lookup = "department"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        rows = visible(Department.objects.order_by("name"), viewer_of(request)).values_list("pk", "name")
        return [(str(pk), name) for pk, name in rows]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        # only what was offered is looked up: a made-up value shows everything, as if nothing had been chosen
        chosen = self.value() if self.value() in {value for value, _ in self.lookup_choices} else None
        return queryset.filter(**{self.lookup: chosen}) if chosen else queryset


def counted(number: int, options: Any) -> str:
    """As in "1 membership", "3 memberships"."""
    return f"{number:,} {options.verbose_name if number == 1 else options.verbose_name_plural}"


def _could_hold(field: Field[Any, Any], value: Any) -> bool:
    try:
        field.to_python(value)
    except ValidationError:
        return False
    return True


def _filtered(each: Any) -> str:
    """What an entry of `list_filter` is called in an address: a field, or a filter of ours."""
    return str(getattr(each, "parameter_name", each))
