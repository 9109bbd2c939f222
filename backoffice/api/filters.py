"""Filters of collections: each declared once, read by the list and by OpenAPI alike.

A parameter that is not declared, or whose value means nothing, is refused with 400.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Q, QuerySet
from rest_framework.filters import BaseFilterBackend
from rest_framework.request import Request

from accounts.scope import visible_organizations
from backoffice.api.parsing import query_error, query_flag, query_moment
from organizations.models import Organization


@dataclass(frozen=True, slots=True)
class TextFilter:
    """Exactly this text in the field `lookup`."""

    name: str
    lookup: str
    help: str

    @property
    def parameters(self) -> list[dict[str, Any]]:
        return [_parameter(self.name, self.help, {"type": "string"})]

    def apply(self, queryset: QuerySet[Any], request: Request) -> QuerySet[Any]:
        return queryset.filter(**{self.lookup: request.query_params[self.name]})


@dataclass(frozen=True, slots=True)
class FlagFilter:
    """`true` or `false` in the field `lookup`, or in that of the same name."""

    name: str
    help: str
    lookup: str = ""

    @property
    def parameters(self) -> list[dict[str, Any]]:
        return [_parameter(self.name, self.help, {"type": "boolean"})]

    def apply(self, queryset: QuerySet[Any], request: Request) -> QuerySet[Any]:
        return queryset.filter(**{self.lookup or self.name: query_flag(request, self.name)})


@dataclass(frozen=True, slots=True)
class ChoiceFilter:
    """One of `values` in the field of the same name."""

    name: str
    values: Sequence[str]
    help: str

    @property
    def parameters(self) -> list[dict[str, Any]]:
        return [_parameter(self.name, self.help, {"type": "string", "enum": list(self.values)})]

    def apply(self, queryset: QuerySet[Any], request: Request) -> QuerySet[Any]:
        return queryset.filter(**{self.name: self.value(request)})

    def value(self, request: Request) -> str:
        return _choice(request, self.name, self.values)


@dataclass(frozen=True, slots=True)
class CaseFilter:
    """One of the names in `cases`, each with what it leaves of the list."""

    name: str
    cases: Mapping[str, Callable[[QuerySet[Any]], QuerySet[Any]]]
    help: str

    @property
    def parameters(self) -> list[dict[str, Any]]:
        return [_parameter(self.name, self.help, {"type": "string", "enum": list(self.cases)})]

    def apply(self, queryset: QuerySet[Any], request: Request) -> QuerySet[Any]:
        return self.cases[_choice(request, self.name, list(self.cases))](queryset)


@dataclass(frozen=True, slots=True)
class MomentFilter:
    """A moment to compare with by `lookup`, such as `at__gte`."""

    name: str
    lookup: str
    help: str

    @property
    def parameters(self) -> list[dict[str, Any]]:
        return [_parameter(self.name, self.help, {"type": "string", "format": "date-time"})]

    def apply(self, queryset: QuerySet[Any], request: Request) -> QuerySet[Any]:
        return queryset.filter(**{self.lookup: query_moment(request, self.name)})


SCOPES = ("self", "subtree", "ancestors")


@dataclass(frozen=True, slots=True)
class TreeFilter:
    """`organization=<code>`, and with `scope` also what lies below or above it, in the field `lookup`.

    With `or_lookups` it is enough that one of these fields leads there.
    """

    lookup: str
    help: str
    name: str = "organization"
    or_lookups: tuple[str, ...] = ()

    @property
    def parameters(self) -> list[dict[str, Any]]:
        scope = "With organization: only it (self), it and all below (subtree), or it and all above (ancestors)."
        return [
            _parameter(self.name, self.help, {"type": "string"}),
            _parameter("scope", scope, {"type": "string", "enum": list(SCOPES), "default": SCOPES[0]}),
        ]

    def apply(self, queryset: QuerySet[Any], request: Request) -> QuerySet[Any]:
        if self.name not in request.query_params:
            raise query_error("scope", "incomplete", "scope needs organization=<code>.")
        chosen = visible_organization(request, self.name)
        scope = _choice(request, "scope", SCOPES)
        organizations = {
            "self": Organization.objects.filter(pk=chosen.pk),
            "subtree": chosen.subtree(),
            "ancestors": chosen.lineage(),
        }[scope]
        # A subquery: joined rows would repeat what several organizations lead to.
        leading = Q()
        for lookup in (self.lookup, *self.or_lookups):
            leading |= Q(**{f"{lookup}__in": organizations.order_by()})
        matching = queryset.model._default_manager.filter(leading)
        return queryset.filter(pk__in=matching.order_by().values("pk"))


Filter = TextFilter | FlagFilter | ChoiceFilter | CaseFilter | MomentFilter | TreeFilter


class StrictFilterBackend(BaseFilterBackend):
    """Apply the view's `filters`; `ApiView` has refused every parameter none of them reads."""

    def filter_queryset(self, request: Request, queryset: QuerySet[Any], view: Any) -> QuerySet[Any]:
        for filter_ in getattr(view, "filters", ()):
            if any(parameter["name"] in request.query_params for parameter in filter_.parameters):
                queryset = filter_.apply(queryset, request)
        return queryset

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        return [parameter for filter_ in getattr(view, "filters", ()) for parameter in filter_.parameters]


def visible_organization(request: Request, name: str) -> Organization:
    """Return the organization whose code the query parameter `name` gives, if the caller may see it."""
    code = request.query_params[name]
    organization = visible_organizations(request.user).filter(code=code).first()
    if organization is None:
        raise query_error(name, "does_not_exist", f"There is no organization {code!r}.")
    return organization  # type: ignore[no-any-return]


def _choice(request: Request, name: str, values: Sequence[str]) -> str:
    value = request.query_params.get(name, values[0])
    if value not in values:
        raise query_error(name, "invalid_choice", f"{name} must be one of {', '.join(values)}.")
    return value


def _parameter(name: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "description": description, "schema": schema}
