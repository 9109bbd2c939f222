"""Import and export of rows, through the same rules as every other way in.

All or nothing: one row that a rule refuses keeps the whole file out, and the preview shows each with
its reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import Model
from import_export import fields, resources, widgets

from backoffice.refusals import Invalid, Refusal
from backoffice.visibility import visible

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
TEXT_MARK = "'"
TRUE, FALSE = {"true", "yes", "y", "1"}, {"false", "no", "n", "0"}


class Flag(widgets.Widget):  # type: ignore[misc]
    """Yes or no, spelled `true` or `false`; anything unclear is refused instead of read as no."""

    def clean(self, value: Any, row: Any = None, **kwargs: Any) -> bool:
        text = str(value).strip().lower()
        if text in TRUE | FALSE:
            return text in TRUE
        raise ValueError(f"{value!r} is neither true nor false.")

    def render(self, value: Any, obj: Any = None, **kwargs: Any) -> str:
        return "true" if value else "false"


class Whole(widgets.Widget):  # type: ignore[misc]
    """A whole number that is not negative."""

    def clean(self, value: Any, row: Any = None, **kwargs: Any) -> int:
        text = str(value).strip()
        if not text.isascii() or not text.isdecimal() or len(text) > 9:  # noqa: PLR2004 - beyond any integer field
            raise ValueError(f"{value!r} is not a whole number.")
        return int(text)


class Named(widgets.Widget):  # type: ignore[misc]
    """Another object by its natural key, among those the user may see."""

    def __init__(self, model: type[Model], key: str) -> None:
        super().__init__()
        self.model, self.key = model, key
        self.user: Any = None

    def clean(self, value: Any, row: Any = None, **kwargs: Any) -> Model | None:
        text = str(value or "").strip()
        if not text:
            return None
        return named(self.model, self.key, text, self.user)

    def render(self, value: Any, obj: Any = None, **kwargs: Any) -> str:
        return getattr(value, self.key, "") if value else ""


def named(model: type[Model], key: str, text: str, user: Any) -> Model:
    """Return the object of that natural key; ValueError when the user can see none."""
    found = visible(model, user).filter(**{key: text}).first()
    if found is None:
        raise ValueError(f"There is no {model._meta.verbose_name} {text!r}.")
    return found  # type: ignore[no-any-return]


class Rows(resources.ModelResource):  # type: ignore[misc]
    """The columns of one model; a subclass says with `write` which rule stores a row."""

    class Meta:
        use_transactions = True
        skip_unchanged = True
        report_skipped = True

    def __init__(self, user: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.user = user
        for field in self.fields.values():
            if isinstance(field.widget, Named):
                field.widget.user = user

    def get_queryset(self) -> Any:
        return visible(self._meta.model, self.user)

    def before_import(self, dataset: Any, **kwargs: Any) -> None:
        known = {field.column_name for field in self.fields.values()}
        unknown = [header for header in dataset.headers or [] if header not in known]
        if unknown:
            raise Invalid(f"Unknown columns: {', '.join(map(str, unknown))}. Known are {', '.join(sorted(known))}.")

    def export_field(self, field: Any, instance: Any, **kwargs: Any) -> Any:
        return as_text_cell(super().export_field(field, instance, **kwargs))

    def before_import_row(self, row: Any, **kwargs: Any) -> None:
        for name, value in row.items():
            row[name] = from_text_cell(value)

    def save_instance(self, instance: Any, is_create: bool, row: Any, **kwargs: Any) -> None:
        with _refusals_as_row_errors():
            self.write(instance, is_create, row)

    def write(self, instance: Any, is_create: bool, row: Any) -> None:
        raise NotImplementedError


def as_text_cell(value: Any) -> Any:
    """Mark a text that a spreadsheet would compute, or that starts with the mark itself, as a text."""
    is_risky = isinstance(value, str) and value.startswith((*FORMULA_STARTS, TEXT_MARK))
    return TEXT_MARK + value if is_risky else value


def from_text_cell(value: Any) -> Any:
    """Return what `as_text_cell` was given."""
    is_marked = isinstance(value, str) and value.startswith(TEXT_MARK)
    return value[1:] if is_marked and value[1:].startswith((*FORMULA_STARTS, TEXT_MARK)) else value


def column(name: str, widget: widgets.Widget | None = None) -> fields.Field:
    """Return a column of that name, stored as it stands unless a widget reads and writes it."""
    return fields.Field(attribute=name, column_name=name, widget=widget or widgets.CharWidget())


@contextmanager
def _refusals_as_row_errors() -> Iterator[None]:
    try:
        yield
    except Refusal as refusal:
        raise ValidationError([error.detail for error in refusal.errors] or [refusal.detail]) from refusal
