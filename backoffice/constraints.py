"""Constraints that say which field a person should look at.

Django reports a violation of a constraint over an expression or several fields on the whole object;
these report it on the field named by `on`. To migrations they are Django's own.
"""

from __future__ import annotations

from typing import Any, ClassVar

from django.core.exceptions import ValidationError
from django.db import models


class _OnField:
    on: str
    code: ClassVar[str]

    def __init__(self, *args: Any, on: str = "", **kwargs: Any) -> None:
        self.on = on
        super().__init__(*args, **kwargs)

    def validate(self, *args: Any, **kwargs: Any) -> None:
        try:
            super().validate(*args, **kwargs)  # type: ignore[misc]
        except ValidationError as error:
            told = [ValidationError(each.message, self.code, each.params) for each in error.error_list]
            raise ValidationError({self.on: told}) from error

    def clone(self) -> Any:
        _, args, kwargs = self.deconstruct()
        return type(self)(*args, on=self.on, **kwargs)

    def deconstruct(self) -> Any:
        base = type(self).__mro__[2]
        _, args, kwargs = super().deconstruct()  # type: ignore[misc]
        return f"django.db.models.{base.__name__}", args, kwargs


class UniqueOn(_OnField, models.UniqueConstraint):
    """A unique constraint whose violation shows on the field `on`."""

    code = "unique"


class CheckOn(_OnField, models.CheckConstraint):
    """A check whose violation shows on the field `on`."""

    code = "not_allowed"
