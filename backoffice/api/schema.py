"""OpenAPI: what the views do not say themselves, above all the problems of every operation."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from drf_spectacular.extensions import OpenApiAuthenticationExtension, OpenApiSerializerFieldExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ResolvedComponent
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter

from backoffice.api.problems import CONTENT_TYPE
from backoffice.api.views import DRY_RUN_HEADER, WRITES, Collection

MEANINGS = {
    400: "Malformed, unknown parameter or member, or a value that is not valid",
    401: "No valid credential",
    403: "The credential does not allow this",
    404: "No such object, or not among those the caller may see",
    406: "No acceptable representation",
    409: "The present state does not allow this; `detail` names what blocks",
    410: "No longer valid; trying again is pointless",
    412: "`If-Match` names another version of the object",
    413: "The body is larger than this door accepts, at most 1 MiB; a patch as large as configured",
    415: "The body is not of the kind this door reads, JSON in most cases",
    416: "The file has no such part",
    429: "Too many failed attempts, or calls; see `Retry-After`",
    503: "Temporarily unavailable; see `Retry-After`",
    507: "There is no room left on the disk; nothing was kept",
}
HEADERS = {401: ("WWW-Authenticate",), 429: ("Retry-After",), 503: ("Retry-After",)}
PROBLEM: dict[str, Any] = {
    "type": "object",
    "description": "An error (RFC 9457).",
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string", "description": "The path that was asked for."},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "pointer": {
                        "type": "string",
                        "description": "JSON pointer into the body, or ?name for a query parameter.",
                    },
                    "code": {"type": "string"},
                    "detail": {"type": "string"},
                },
                "required": ["pointer", "code", "detail"],
            },
        },
    },
    "required": ["type", "title", "status", "detail", "instance", "errors"],
}
REFERENCE: dict[str, Any] = {
    "type": "object",
    "description": "A related object; `display` is its natural key.",
    "properties": {
        "id": {"type": "integer"},
        "url": {"type": "string", "format": "uri-reference"},
        "display": {"type": "string"},
    },
    "required": ["id", "url", "display"],
}


def without_slash_forms(endpoints: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Leave out the second form of the device doors, which are known with and without a final slash."""
    paths = {path for path, *_ in endpoints}
    return [
        endpoint
        for endpoint in endpoints
        if endpoint[0].removesuffix("/") == endpoint[0] or endpoint[0][:-1] not in paths
    ]


class ProblemSchema(AutoSchema):  # type: ignore[misc]
    """Declare the problems, preconditions and dry run that `ApiView` and `Collection` bring along."""

    def problem_statuses(self) -> set[int]:
        """Return every problem status the operation can answer with."""
        statuses = {400, 406, 503}
        if self.view.get_authenticators():
            statuses |= {401, 403, 429}
        if "{" in self.path:
            statuses.add(404)
        if self.method in ("POST", "PUT", "PATCH"):
            statuses |= {413, 415}
        if self.method in WRITES and isinstance(self.view, Collection):
            statuses.add(409)
            if "{" in self.path:
                statuses.add(412)
        statuses.update(getattr(self.view, "problems", {}).get(self.method.lower(), ()))
        return statuses

    def _get_response_bodies(self, direction: Any = "response") -> Any:
        responses = super()._get_response_bodies(direction)
        for problem_status in sorted(self.problem_statuses()):
            responses.setdefault(str(problem_status), self._problem_response(problem_status))
        return responses

    def _problem_response(self, problem_status: int) -> dict[str, Any]:
        response: dict[str, Any] = {
            "description": MEANINGS[problem_status],
            "content": {CONTENT_TYPE: {"schema": self._component("Problem", PROBLEM)}},
        }
        if names := HEADERS.get(problem_status):
            response["headers"] = {name: {"schema": {"type": "string"}} for name in names}
        return response

    def _component(self, name: str, schema: dict[str, Any]) -> dict[str, str]:
        component = ResolvedComponent(name=name, type=ResolvedComponent.SCHEMA, object=name, schema=schema)
        self.registry.register_on_missing(component)
        reference: dict[str, str] = component.ref
        return reference

    def get_override_parameters(self) -> list[Any]:
        parameters: list[Any] = super().get_override_parameters()
        if isinstance(self.view, Collection) and self.method in WRITES:
            parameters = [
                *parameters,
                OpenApiParameter(
                    "dry_run",
                    OpenApiTypes.BOOL,
                    description=f"Answer as usual, with {DRY_RUN_HEADER}: true, but change nothing.",
                ),
            ]
            if "{" in self.path:
                parameters.append(
                    OpenApiParameter(
                        "If-Match",
                        OpenApiTypes.STR,
                        OpenApiParameter.HEADER,
                        description="Only when the object's ETag is one of these.",
                    )
                )
        return parameters


class ReferenceFieldExtension(OpenApiSerializerFieldExtension):  # type: ignore[misc]
    target_class = "backoffice.api.serializers.RefField"

    def map_serializer_field(self, auto_schema: ProblemSchema, direction: str) -> dict[str, Any]:
        return auto_schema._component("Reference", REFERENCE)


class NaturalKeyFieldExtension(OpenApiSerializerFieldExtension):  # type: ignore[misc]
    target_class = "backoffice.api.serializers.NaturalKeyField"
    match_subclasses = True

    def map_serializer_field(self, auto_schema: ProblemSchema, direction: str) -> dict[str, Any]:
        text = {"type": "string", "description": f"Its {self.target.natural_key}."}
        return text if direction == "response" else {"oneOf": [text, {"type": "integer"}]}


class BearerScheme(OpenApiAuthenticationExtension):  # type: ignore[misc]
    target_class = "backoffice.api.authentication.BearerAuthentication"
    match_subclasses = True

    @property
    def name(self) -> str:
        return f"{self.target.kind}_token"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "bearerFormat": f"bst_{self.target.kind}_<id>.<secret>"}


class BrowserSessionScheme(OpenApiAuthenticationExtension):  # type: ignore[misc]
    target_class = "backoffice.api.authentication.BrowserSessionAuthentication"
    name = "browser_session"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, str]:
        return {"type": "apiKey", "in": "cookie", "name": settings.SESSION_COOKIE_NAME}
