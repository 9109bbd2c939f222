"""Which objects a user may see: one rule per model, registered by the room that can tell.

Windows, autocompletes, exports and REST collections all ask here, so that a lower room need not know
the rooms above it and none of them can forget the limit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db.models import Model, QuerySet

Rule = Callable[[Any], QuerySet[Any]]
_rules: dict[type[Model], Rule] = {}
# The room of people says here who sees only a part of the organization tree.
limits: list[Callable[[Any], bool]] = []


def register(model: type[Model], rule: Rule) -> None:
    """Let `rule` answer, for a user, which objects of `model` he may see."""
    _rules[model] = rule


def visible(model: type[Model], user: Any) -> QuerySet[Any]:
    """Return the objects of `model` that `user` may see: all of them where no rule limits that."""
    rule = _rules.get(model)
    return rule(user) if rule else model._default_manager.all()


def is_limited(user: Any) -> bool:
    """Tell whether `user` sees, and so administers, only a part of the organization tree."""
    return any(limit(user) for limit in limits)
