"""Values that were set for preferences, system-wide or for an organization."""

from __future__ import annotations

from typing import ClassVar

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from simple_history.models import HistoricalRecords

from backoffice.constraints import UniqueOn
from organizations.models import Organization
from preferences.registry import BY_KEY, Scope, choices


class PreferenceValue(models.Model):
    """A value set for one preference; without one, the default or an ancestor's value holds."""

    key = models.CharField("preference", max_length=60, choices=choices)
    organization = models.ForeignKey(
        Organization,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="preference_values",
        help_text="Holds for this organization and what lies below it. Empty: for the whole system.",
    )
    value = models.CharField(max_length=60)

    history = HistoricalRecords()

    class Meta:
        ordering: ClassVar[list[str]] = ["key", "organization_id"]
        verbose_name = "preference"
        constraints: ClassVar[list[models.BaseConstraint]] = [
            UniqueOn(
                on="key",
                fields=["key", "organization"],
                name="preference_once_per_organization",
                violation_error_message="This preference is already set for this organization.",
            ),
            UniqueOn(
                on="key",
                fields=["key"],
                condition=Q(organization__isnull=True),
                name="preference_once_for_the_system",
                violation_error_message="This preference is already set for the system.",
            ),
            models.CheckConstraint(
                condition=~Q(key="multi_server_enabled") | Q(organization__isnull=True, value__in=["Y", "N"]),
                name="preference_multi_server_is_for_the_system",
                violation_error_message="Multi-server is switched for the whole system, with exactly Y or N.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_key_display()} = {self.value}"

    def clean(self) -> None:
        """Refuse an unknown key, a value outside its bounds, and a scope the preference has not (N14)."""
        super().clean()
        definition = BY_KEY.get(self.key)
        if definition is None:
            return
        if definition.scope is Scope.SYSTEM and self.organization_id is not None:
            raise ValidationError(
                {
                    "organization": ValidationError(
                        f"{definition.label} can only be set for the whole system.", "system_only"
                    )
                }
            )
        try:
            self.value = definition.spell(definition.parse(self.value))
        except ValueError as error:
            raise ValidationError({"value": ValidationError(str(error), "out_of_range")}) from error
