"""Shapes that the rooms' serializers share."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, cast

from django.db import models
from django.db.models import QuerySet
from django.urls import reverse
from rest_framework import serializers
from rest_framework.fields import empty
from rest_framework.validators import UniqueValidator

from accounts.scope import is_limited, visible_organizations
from backoffice.api.parsing import is_storable
from organizations.models import OrganizationKind

MOST_ROWS = 10_000


@cache
def _collection_url(collection: str) -> str:
    return reverse(f"api:{collection}-list")


def detail_url(collection: str, pk: int) -> str:
    """Return the address of an object; a page of servers names tens of thousands of them."""
    return f"{_collection_url(collection)}{pk}/"


class RefField(serializers.Field[Any, Any, dict[str, Any], Any]):
    """A related object to read: `{"id", "url", "display"}`, where `display` is its natural key."""

    def __init__(self, collection: str, natural_key: str, **options: Any) -> None:
        self.collection = collection
        self.natural_key = natural_key
        super().__init__(read_only=True, **options)

    def to_representation(self, value: models.Model) -> dict[str, Any]:
        return {
            "id": value.pk,
            "url": detail_url(self.collection, value.pk),
            "display": getattr(value, self.natural_key),
        }


class NaturalKeyField(serializers.RelatedField[Any, Any, str]):
    """A related object, read as its natural key and written as natural key (text) or id (number)."""

    default_error_messages = {
        "invalid": "Give the {natural_key} as text or the id as a number.",
        "does_not_exist": "There is no {kind} {given!r}.",
    }

    def __init__(self, natural_key: str, **options: Any) -> None:
        self.natural_key = natural_key
        self.looked_up: Mapping[int | str, Any] | None = None
        super().__init__(**options)

    def use_pk_only_optimization(self) -> bool:
        return False

    def to_representation(self, value: Any) -> str:
        return str(getattr(value, self.natural_key))

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, bool) or not isinstance(data, int | str):
            self.fail("invalid", natural_key=self.natural_key)
        looked_up = self.look_up([data]) if self.looked_up is None else self.looked_up
        found = looked_up.get(data)
        if found is None:
            self.fail("does_not_exist", kind=self.kind_name, given=data)
        return found

    @property
    def kind_name(self) -> str:
        """What the field names, for messages."""
        return str(self.objects().model._meta.verbose_name)

    def objects(self) -> QuerySet[Any]:
        """Return the objects that may be named."""
        return cast(QuerySet[Any], self.get_queryset())  # a field that is written has one

    def look_up(self, given: list[int | str]) -> Mapping[int | str, Any]:
        """Return the objects that ids and natural keys name, in at most two queries however many."""
        queryset = self.objects()
        keys = {key for key in given if isinstance(key, str) and is_storable(key)}
        pks = {key for key in given if type(key) is int and 0 < key < 2**63}
        found: dict[int | str, Any] = dict(queryset.in_bulk(pks)) if pks else {}
        if keys:
            for instance in queryset.filter(**{f"{self.natural_key}__in": keys}):
                found[getattr(instance, self.natural_key)] = instance
        return found


class OrganizationField(NaturalKeyField):
    """An organization by code or id; one the caller may not see does not exist for them.

    With `kind` only organizations of that kind can be named.
    """

    def __init__(self, kind: OrganizationKind | None = None, **options: Any) -> None:
        self.kind = kind
        super().__init__("code", **options)

    def get_queryset(self) -> QuerySet[Any]:
        organizations = visible_organizations(self.context["request"].user)
        return organizations.filter(kind=self.kind) if self.kind else organizations

    @property
    def kind_name(self) -> str:
        return self.kind.value if self.kind else super().kind_name


class RowsSerializer(serializers.ListSerializer[Any]):
    """A nested list whose related objects are all looked up at once."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, list) and len(data) > MOST_ROWS:
            # Before any row is looked at: the errors of a body full of rows take longer than the refusal.
            raise serializers.ValidationError(f"A list has at most {MOST_ROWS} rows.", "max_length")
        rows = [row for row in data if isinstance(row, Mapping)] if isinstance(data, list) else []
        for name, field in cast(serializers.Serializer[Any], self.child).fields.items():
            if isinstance(field, NaturalKeyField):
                field.looked_up = field.look_up([row[name] for row in rows if name in row])
        return super().to_internal_value(data)


class StrictSerializer(serializers.Serializer[Any]):
    """Refuse members that are not part of the representation.

    Its read-only members are accepted and ignored, so that what was read can be written back.
    """

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping):
            unknown = {
                name: [serializers.ErrorDetail(f"{name!r} is not a member here.", "unknown_member")]
                for name in data
                if name not in self.fields
            }
            if unknown:
                raise serializers.ValidationError(unknown)
        return super().to_internal_value(data)


class StrictModelSerializer(StrictSerializer, serializers.ModelSerializer[Any]):
    """The wire shape of a model whose values the model itself, or a rule, checks when they are saved.

    REST framework's copies of uniqueness checks are left out: they would answer before the rule, in
    other words, and race with other writers.
    """

    def get_uniqueness_extra_kwargs(
        self, field_names: Any, declared_fields: Any, extra_kwargs: Any
    ) -> tuple[Any, dict[str, Any]]:
        return extra_kwargs, {}

    def get_validators(self) -> list[Any]:
        return []

    def build_standard_field(self, field_name: str, model_field: Any) -> tuple[type, dict[str, Any]]:
        field_class, options = super().build_standard_field(field_name, model_field)
        if "validators" in options:
            options["validators"] = [
                validator for validator in options["validators"] if not isinstance(validator, UniqueValidator)
            ]
        return field_class, options

    def to_representation(self, instance: Any) -> Any:
        """Let what was never observed, and so has no row, read as the default of its field."""
        told = super().to_representation(instance)
        for name, field in self.fields.items():
            if told[name] is None and field.read_only and field.default is not empty:
                told[name] = field.default
        return told

    def create(self, validated_data: dict[str, Any]) -> Any:
        model: type[models.Model] = self.Meta.model
        return self.write(model(), validated_data)

    def update(self, instance: Any, validated_data: dict[str, Any]) -> Any:
        return self.write(instance, validated_data)

    def write(self, instance: Any, values: dict[str, Any]) -> Any:
        """Give `instance` its new values and save it; rooms with a rule for this override it."""
        self.assign(instance, values)
        instance.full_clean()
        instance.save()
        return instance

    @property
    def is_caller_limited(self) -> bool:
        """Whether the caller administers only a part of the organization tree."""
        return is_limited(self.context["request"].user)

    def assign(self, instance: Any, values: dict[str, Any]) -> None:
        for name, value in values.items():
            setattr(instance, name, value)
