"""Who changed what, and when: an object's history for people, its tabs included."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Model

LONGEST = 200
HIDDEN = "another organization's"
KINDS = {"+": "Added", "~": "Changed", "-": "Deleted"}


@dataclass(frozen=True, slots=True)
class Change:
    field: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One change: `subject` names the row of a tab, and is empty for the object itself."""

    at: datetime
    who: str
    kind: str
    subject: str
    changes: tuple[Change, ...]


def entries_of(instance: Model, tabs: Sequence[type[Model]], is_visible: Callable[[Model], bool]) -> list[Entry]:
    """Return the latest changes of an object and of the rows that hang on it, newest first.

    Related objects for which `is_visible` is false are not named.
    """
    manager: Any = type(instance)
    records = list(manager.history.filter(**{instance._meta.pk.attname: instance.pk}))
    entries = list(_entries(records, "", is_visible))
    for tab in tabs:
        [link] = [field for field in tab._meta.fields if field.related_model is type(instance)]
        history: Any = tab
        rows: dict[int, list[Any]] = {}
        for record in history.history.filter(**{link.attname: instance.pk}).order_by("-history_date", "-history_id"):
            rows.setdefault(record.id, []).append(record)
        for row in rows.values():
            entries += _entries(row, _subject(row[0], link.name, is_visible), is_visible)
    return sorted(entries, key=lambda entry: entry.at, reverse=True)[:LONGEST]


def _entries(newest_first: Sequence[Any], subject: str, is_visible: Callable[[Model], bool]) -> Iterable[Entry]:
    for record, older in zip(newest_first, [*newest_first[1:], None], strict=True):
        changes: tuple[Change, ...] = ()
        if record.history_type == "~" and older is not None:
            delta = record.diff_against(older, foreign_keys_are_objs=True)
            changes = tuple(
                Change(
                    str(type(record)._meta.get_field(change.field).verbose_name),
                    _text(change.old, is_visible),
                    _text(change.new, is_visible),
                )
                for change in delta.changes
            )
            if not changes:
                continue  # saved without a change
        who = record.history_user.get_username() if record.history_user else ""
        yield Entry(record.history_date, who, KINDS[record.history_type], subject, changes)


def _subject(record: Any, link: str, is_visible: Callable[[Model], bool]) -> str:
    named = [field for field in type(record).instance_type._meta.fields if field.related_model and field.name != link]
    tab = str(type(record).instance_type._meta.verbose_name)
    for field in named:
        target = field.related_model._default_manager.filter(pk=getattr(record, field.attname)).first()
        name = f"no longer there ({getattr(record, field.attname)})" if target is None else _text(target, is_visible)
        return f"{tab.capitalize()}: {name}"
    return tab.capitalize()


def _text(value: object, is_visible: Callable[[Model], bool]) -> str:
    if isinstance(value, Model):
        return str(value) if is_visible(value) else HIDDEN
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value in (None, "") else str(value)
