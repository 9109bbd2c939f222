"""Whether this process lives, and whether it can do its work: `/livez`, `/readyz`; and `/actingz`.

Both answer before any other middleware: probes call by address, which need not be an allowed host,
and must not be redirected to https. Terminals are served while the database is away, so a balancer
for terminals asks `/livez`; one for the windows and the REST API asks `/readyz`.
"""

from __future__ import annotations

from collections.abc import Callable

from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse

from boosters.lease import acting_right
from boosters.parameters import ParameterRefused

RETRY_AFTER_S = 5
_state = {"migrated": False}


def unapplied_migrations() -> list[str]:
    """Return the migrations the database lacks, as `app.name`; raises DatabaseError when it is away."""
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return [f"{migration.app_label}.{migration.name}" for migration, _ in plan]


def what_is_missing() -> str:
    """Return why this node cannot work at the moment, or nothing."""
    try:
        if not _state["migrated"]:
            if unapplied_migrations():
                return "migrations are not applied"
            _state["migrated"] = True
        connection.ensure_connection()
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        connection.close()
        return "the database is away"
    return ""


class HealthMiddleware:
    """Answers the two probes, and leaves everything else to the rest."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path == "/livez":
            return JsonResponse({"status": "ok"}, headers={"Cache-Control": "no-store"})
        if request.path == "/readyz":
            return readiness()
        if request.path == "/actingz":
            return acting()
        return self.get_response(request)


def readiness() -> JsonResponse:
    return _answer(what_is_missing())


def acting() -> JsonResponse:
    """Answer 200 on the one node that acts, else 503: for a balancer that prefers it, and for monitoring."""
    try:
        return _answer(what_is_missing() or ("" if acting_right() else "this node stands by"))
    except ParameterRefused as refusal:
        return _answer(str(refusal).removesuffix("."))


def _answer(missing: str) -> JsonResponse:
    headers = {"Cache-Control": "no-store"}
    if not missing:
        return JsonResponse({"status": "ok"}, headers=headers)
    problem = {"type": "/problems/unavailable", "title": "Not ready", "status": 503, "detail": f"{missing}."}
    headers["Retry-After"] = str(RETRY_AFTER_S)
    return JsonResponse(problem, status=503, content_type="application/problem+json", headers=headers)
