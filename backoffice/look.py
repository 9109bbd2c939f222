"""How the windows look and behave: the one module that knows django-unfold.

A room's `admin.py` builds its windows from the classes here and says only what is its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.utils import unquote
from django.contrib.admin.widgets import AutocompleteSelect, RelatedFieldWidgetWrapper
from django.core.exceptions import PermissionDenied, SuspiciousOperation, ValidationError
from django.db import transaction
from django.db.models import Field, Model, ProtectedError, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.template.response import TemplateResponse
from django.urls import reverse
from import_export.admin import ImportExportMixin
from import_export.formats.base_formats import CSV
from unfold import decorators
from unfold.admin import ModelAdmin, TabularInline
from unfold.contrib.filters.admin import AutocompleteSelectFilter
from unfold.contrib.filters.forms import AutocompleteDropdownForm
from unfold.contrib.import_export.forms import ExportForm, ImportForm
from unfold.enums import ActionVariant
from unfold.forms import AdminOwnPasswordChangeForm, AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.sites import UnfoldAdminSite
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminFileFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from backoffice.history import entries_of
from backoffice.refusals import Refusal, describe_blockers
from backoffice.visibility import visible

if TYPE_CHECKING:
    from accounts.models import User

__all__ = [
    "ActionVariant",
    "AdminPasswordChangeForm",
    "CsvWindow",
    "OrganizationFilter",
    "RecordWindow",
    "Site",
    "Tab",
    "UserChangeForm",
    "UserCreationForm",
    "Window",
    "action",
    "actor_of",
    "check_boxes",
    "display",
    "file_input",
    "organization_input",
    "select_input",
    "text_area",
    "text_input",
]

LARGEST_IMPORT = 4 * 2**20
MOST_ROWS = 5_000

Function = TypeVar("Function", bound=Callable[..., Any])


def actor_of(request: HttpRequest) -> User | None:
    """Return who is logged in, as events name their actor; nobody where nobody is."""
    return request.user if request.user.is_authenticated else None


def action(**options: Any) -> Callable[[Function], Function]:
    """Make a method a button of its window: `description`, `icon`, `permissions`, `variant`."""
    return decorators.action(**options)  # type: ignore[no-any-return]


def display(**options: Any) -> Callable[[Function], Function]:
    """Make a method a column or a read-only field: `description`, `ordering`, `boolean`, `label`."""
    return decorators.display(**options)  # type: ignore[no-any-return]


check_boxes = UnfoldAdminCheckboxSelectMultipleWidget
file_input = UnfoldAdminFileFieldWidget
select_input = UnfoldAdminSelectWidget
text_area = UnfoldAdminTextareaWidget
text_input = UnfoldAdminTextInputWidget


class OwnPasswordForm(AdminOwnPasswordChangeForm):  # type: ignore[misc]
    """Choosing a new password also answers the demand to do so."""

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or self.cleaned_data
        password = data.get("new_password1")
        if password and self.user.must_change_password and self.user.check_password(password):
            self.add_error("new_password1", "This is the password that must be changed: choose another.")
        return data

    def save(self, commit: bool = True) -> Any:
        self.user.must_change_password = False
        return super().save(commit)


class Site(UnfoldAdminSite):  # type: ignore[misc]
    """The windows as a whole."""

    index_title = "Dashboard"
    enable_nav_sidebar = True

    def has_permission(self, request: HttpRequest) -> bool:
        """Ask who is calling, as every page and search does first; refuse a query no column can hold."""
        if any("\0" in text for texts in request.GET.lists() for text in texts[1]):
            raise SuspiciousOperation("Nothing can be searched or filtered by a NUL character.")
        return bool(super().has_permission(request))

    def password_change(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        from django.contrib.auth.views import PasswordChangeView

        context = {**self.each_context(request), **(extra_context or {})}
        view = PasswordChangeView.as_view(
            form_class=OwnPasswordForm,
            success_url=reverse("admin:password_change_done"),
            template_name="registration/password_change_form.html",
            extra_context=context,
        )
        return view(request)  # type: ignore[return-value]


def locked_out(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
    """Answer a login after too many wrong passwords (called by django-axes)."""
    wait_s = int(settings.AXES_COOLOFF_TIME * 3600)
    context = {**admin.site.each_context(request), "title": "Too many attempts", "minutes": wait_s // 60}
    answer = render(request, "backoffice/locked.html", context, status=429)
    answer["Retry-After"] = str(wait_s)
    return answer


def is_id(text: str) -> bool:
    """Tell whether `text` can be the id of an object."""
    return text.isascii() and text.isdecimal() and int(text[:20]) < 2**63


def refusal_errors(refusal: Exception) -> Iterable[tuple[str, str]]:
    """Yield field name (empty for the whole form) and message of each thing a rule refuses."""
    if isinstance(refusal, ValidationError):
        by_field = refusal.message_dict if hasattr(refusal, "error_dict") else {"": refusal.messages}
        for field, texts in by_field.items():
            yield from ((field, text) for text in texts)
    elif isinstance(refusal, ProtectedError):
        yield "", f"This cannot be deleted: {describe_blockers(refusal.protected_objects)}."
    elif isinstance(refusal, Refusal):
        if not refusal.errors:
            yield "", refusal.detail
        for error in refusal.errors:
            yield error.pointer.strip("/").split("/")[0], error.detail


REFUSALS = (Refusal, ValidationError, ProtectedError)


class _Limited:
    """Offers and accepts, in every relation, only what the user may see."""

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        kwargs.setdefault("queryset", visible(db_field.remote_field.model, request.user))
        return super().formfield_for_foreignkey(db_field, request, **kwargs)  # type: ignore[misc]

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if "queryset" not in kwargs and db_field.remote_field.model._meta.app_label != "auth":
            kwargs["queryset"] = visible(db_field.remote_field.model, request.user)
        return super().formfield_for_manytomany(db_field, request, **kwargs)  # type: ignore[misc]

    def formfield_for_dbfield(self, db_field: Field[Any, Any], request: HttpRequest, **kwargs: Any) -> Any:
        field = super().formfield_for_dbfield(db_field, request, **kwargs)  # type: ignore[misc]
        if field is not None and isinstance(field.widget, RelatedFieldWidgetWrapper):
            # Every object has its own window in the menu; the pop-ups beside each select only distract.
            field.widget = field.widget.widget
        return field


class Window(_Limited, ModelAdmin):  # type: ignore[misc]
    """The window of one entity.

    What a rule refuses while saving or deleting shows as a message on the form. Lists, selects,
    autocompletes, history and exports hold what `backoffice.visibility` lets the user see.
    """

    list_filter_submit = True
    list_fullwidth = True
    list_per_page = 50
    compressed_fields = True
    warn_unsaved_form = True
    empty_value_display = "-"
    save_as = False
    view_on_site = False
    # Models whose rows are the tabs of this window: their changes belong to its history.
    history_tabs: ClassVar[Sequence[type[Model]]] = ()

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return visible(self.model, request.user).order_by(*self.get_ordering(request) or self.model._meta.ordering)

    def _get_obj_does_not_exist_redirect(self, request: HttpRequest, opts: Any, object_id: str) -> HttpResponse:
        raise Http404

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        refusal: Exception | None = getattr(request, "refusal", None)
        if refusal is None:
            return form
        errors = list(refusal_errors(refusal))

        class RefusedForm(form):  # type: ignore[valid-type,misc]
            def _post_clean(self) -> None:
                super()._post_clean()
                for field, message in errors:
                    self.add_error(field if field in self.fields else None, message)

        return RefusedForm

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Show the form again, with the reason, when a rule refuses what the form itself let pass."""
        try:
            return super().changeform_view(request, *args, **kwargs)
        except REFUSALS as refusal:
            if request.method != "POST":
                raise
            request.refusal = refusal  # type: ignore[attr-defined]
            return super().changeform_view(request, *args, **kwargs)

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> Any:
        return self._refused_as_message(
            request,
            partial(super().delete_view, request, object_id, extra_context),
            self.window_url("change", unquote(object_id)),
        )

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Return what the address of an empty form fills in; a relation only by an id."""
        initial: dict[str, Any] = super().get_changeform_initial_data(request)
        relations = {field.name for field in self.model._meta.get_fields() if field.is_relation}
        return {
            name: value
            for name, value in initial.items()
            if name not in relations or all(is_id(text) for text in (value if isinstance(value, list) else [value]))
        }

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        try:
            return super().get_changelist_instance(request)
        except OverflowError as error:  # a year beyond the calendar, for one
            raise IncorrectLookupParameters(error) from error

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        if not all(is_id(text) for text in request.POST.getlist(ACTION_CHECKBOX_NAME)):
            raise SuspiciousOperation("What is selected is not an id.")
        return self._refused_as_message(
            request, partial(super().changelist_view, request, extra_context), request.get_full_path()
        )

    def lock(self) -> AbstractContextManager[None]:
        """Return the transaction of a deletion or action, with whatever lock the rows need before any of them."""
        return transaction.atomic()

    def _refused_as_message(self, request: HttpRequest, view: Callable[[], Any], otherwise: str) -> Any:
        if request.method != "POST":
            return view()
        try:
            with self.lock():
                return view()
        except REFUSALS as refusal:
            for _, message in refusal_errors(refusal):
                messages.error(request, message)
            return HttpResponseRedirect(otherwise)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Name what would go and what blocks; rows that only exist with their owner are not a right of their own."""
        to_delete, count, lacking, protected = super().get_deleted_objects(objs, request)
        own = {str(self.model._meta.verbose_name), str(self.model._meta.verbose_name_plural)}
        tabs = {str(model._meta.verbose_name) for model in self.history_tabs}
        return to_delete, count, {name for name in lacking if str(name) not in tabs or str(name) in own}, protected

    def window_url(self, view: str, *args: object) -> str:
        """Return the address of one of this window's views: `changelist`, `add`, `change`, `history`, …"""
        opts = self.model._meta
        return reverse(f"admin:{opts.app_label}_{opts.model_name}_{view}", args=args)

    def visible_object(self, request: HttpRequest, object_id: str, *, change: bool = False) -> Any:
        """Return an object the user may see (or change), for views of a window's own; else 404 or 403."""
        found = self.get_object(request, unquote(object_id))
        if found is None:
            raise Http404
        allowed = self.has_change_permission if change else self.has_view_or_change_permission
        if not allowed(request, found):
            raise PermissionDenied
        return found

    def render_page(self, request: HttpRequest, template: str, title: str, **context: Any) -> TemplateResponse:
        """Answer with a page of a window's own, inside the windows' frame."""
        request.current_app = self.admin_site.name
        everything = {
            **self.admin_site.each_context(request),
            "opts": self.model._meta,
            "title": title,
            "media": self.media,
            **context,
        }
        return TemplateResponse(request, template, everything)

    def has_look_at_fleet_permission(self, request: HttpRequest, object_id: object = None) -> bool:
        """Tell whether the user may open the pages of the fleet, for buttons that lead there."""
        return bool(request.user.has_perm("servers.view_mobileserver"))

    @property
    def _has_own_history(self) -> bool:
        return hasattr(self.model, "history")

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        """Show who changed what when, tabs included; names nothing the user may not see."""
        subject = self.visible_object(request, object_id)
        if not self._has_own_history:
            return super().history_view(request, object_id, extra_context)  # type: ignore[no-any-return]

        def is_visible(related: Model) -> bool:
            return visible(type(related), request.user).filter(pk=related.pk).exists()

        return self.render_page(
            request,
            "backoffice/history.html",
            f"History: {subject}",
            object=subject,
            original=subject,
            entries=entries_of(subject, self.history_tabs, is_visible),
        )

    # A model's own history tells more than the admin's log, and also what did not come from a window.
    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> None:
        if not self._has_own_history:
            super().log_addition(request, obj, message)

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> None:
        if not self._has_own_history:
            super().log_change(request, obj, message)

    def log_deletions(self, request: HttpRequest, queryset: Any) -> None:
        if not self._has_own_history:
            super().log_deletions(request, queryset)


class RecordWindow(Window):
    """The window of what the product alone writes: it is read, filtered and searched, and that is all."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class Tab(_Limited, TabularInline):  # type: ignore[misc]
    """The rows of one tab."""

    extra = 0
    tab = True
    show_change_link = False


class _LimitedDropdown(AutocompleteDropdownForm):  # type: ignore[misc]
    def __init__(self, request: HttpRequest, name: str, *args: Any, **kwargs: Any) -> None:
        super().__init__(request, name, *args, **kwargs)
        choice: Any = self.fields[name]
        choice.queryset = visible(choice.queryset.model, request.user)


class OrganizationFilter(AutocompleteSelectFilter):  # type: ignore[misc]
    """Filters by an organization and everything below it."""

    form_class = _LimitedDropdown

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if not self.value():
            return queryset
        organizations = visible(self.field.remote_field.model, request.user)
        try:
            chosen = organizations.filter(pk=int(self.value()))
        except ValueError:
            return queryset.none()
        below = organizations.below(chosen)  # type: ignore[attr-defined]
        return queryset.filter(**{f"{self.field_path}__in": below})


class BoundedImportForm(ImportForm):  # type: ignore[misc]
    """The file to import, small enough that nobody else waits long for its preview."""

    def clean_import_file(self) -> Any:
        file = self.cleaned_data["import_file"]
        if file.size > LARGEST_IMPORT:
            raise ValidationError(f"A file has at most {LARGEST_IMPORT // 2**20} MiB: split it.")
        if sum(chunk.count(b"\n") for chunk in file.chunks()) > MOST_ROWS:
            raise ValidationError(f"A file has at most {MOST_ROWS} rows: split it.")
        file.seek(0)
        return file


class CsvWindow(ImportExportMixin, Window):  # type: ignore[misc]
    """A window with import, after a preview, and export of a CSV file."""

    formats = (CSV,)
    import_form_class = BoundedImportForm
    export_form_class = ExportForm
    skip_admin_log = True
    show_change_form_export = False

    def has_import_permission(self, request: HttpRequest) -> bool:
        return bool(self.has_add_permission(request) and self.has_change_permission(request))

    def has_export_permission(self, request: HttpRequest) -> bool:
        return bool(self.has_view_or_change_permission(request))

    def get_import_resource_kwargs(self, request: HttpRequest, **kwargs: Any) -> dict[str, Any]:
        return {"user": request.user}

    def get_export_resource_kwargs(self, request: HttpRequest, **kwargs: Any) -> dict[str, Any]:
        return {"user": request.user}

    def process_import(self, request: HttpRequest, **kwargs: Any) -> Any:
        try:
            return super().process_import(request, **kwargs)
        except (OSError, TypeError, ValueError, LookupError):
            if request.method != "POST":
                raise
            messages.error(request, "The uploaded file is no longer there: choose it again.")
            return HttpResponseRedirect(self.window_url("import"))

    def process_dataset(self, dataset: Any, form: Any, request: HttpRequest, **kwargs: Any) -> Any:
        return super().process_dataset(dataset, form, request, rollback_on_validation_errors=True, **kwargs)

    def process_result(self, result: Any, request: HttpRequest) -> Any:
        """Import everything or nothing: what was fine in the preview may no longer be."""
        if not result.has_errors() and not result.has_validation_errors():
            return super().process_result(result, request)
        for row in result.invalid_rows:
            messages.error(request, f"Row {row.number}: {'; '.join(row.error.messages)}")
        messages.error(request, "Nothing was imported.")
        return HttpResponseRedirect(self.window_url("import"))


def organization_input(site: Any, field: Any) -> forms.Widget:
    """Return the search-as-you-type select of the organization that `field` refers to."""
    return AutocompleteSelect(field, site)
