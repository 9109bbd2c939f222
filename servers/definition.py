"""Writing a mobile server with its two tabs, as one change."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from django.core.exceptions import ValidationError

from backoffice.refusals import FieldError, Invalid
from licensing.installation import refuse_unless_allowed
from licensing.rules import Action
from organizations.models import Organization
from organizations.tree import tree_write
from servers.models import KEY_LENGTH, MobileServer, OrganizationByServer, ServerType, ServiceByServer
from services.models import MobileService


@dataclass(frozen=True, slots=True)
class Assignment:
    """One row of a tab: the organization or service it names, and whether it counts."""

    target: Organization | MobileService
    is_active: bool = True


def key_from_name(name: str, taken: Iterable[str]) -> str:
    """Return a mobile server key made from `name`, not among `taken` (compared without case).

    Lower case, blanks to `_`, other characters left out, at most 32 characters; a number is
    added on collision. Source: reference/openbravo 1.1, "mobile server key".
    """
    base = re.sub(r"[^a-z0-9_-]", "", re.sub(r"\s+", "_", name.strip().lower()))[:KEY_LENGTH] or "server"
    used = {key.lower() for key in taken}
    key, number = base, 1
    while key in used:
        number += 1
        suffix = f"_{number}"
        key = base[: KEY_LENGTH - len(suffix)] + suffix
    return key


def save_server(
    server: MobileServer,
    *,
    organizations: Iterable[Assignment] | None = None,
    services: Iterable[Assignment] | None = None,
) -> MobileServer:
    """Save a server and, where given, replace the rows of its tabs; all of it or nothing.

    None leaves a tab as it is. Raises django's ValidationError for bad fields and Invalid for a tab
    that names something twice or an organization of another client, and LicenseLimit for a further
    server that the licence does not allow. The tree is held meanwhile, so
    that no organization moves to another client between the check and the commit.
    """
    with tree_write():
        if not server.key:
            server.key = key_from_name(server.name, MobileServer.objects.values_list("key", flat=True))
        server.full_clean()
        if server._state.adding:
            is_main = server.server_type == ServerType.MAIN
            refuse_unless_allowed(Action.ADD_MAIN_SERVER if is_main else Action.ADD_STORE_SERVER)
        server.save()
        if organizations is not None:
            _replace(server, OrganizationByServer, "organization", _as_they_are_now(list(organizations)))
        elif server.organizations_by_server.exclude(organization__tree_id=server.client.tree_id).exists():
            raise Invalid(
                "The server serves organizations of another client.",
                errors=[FieldError("/client", "other_client", "The server serves organizations of another client.")],
            )
        if services is not None:
            _replace(server, ServiceByServer, "service", list(services))
    return server


def _as_they_are_now(assignments: list[Assignment]) -> list[Assignment]:
    """Return the assignments with their organizations read again, under the lock of the tree."""
    fresh = Organization.objects.in_bulk([assignment.target.pk for assignment in assignments])
    return [replace(row, target=fresh.get(row.target.pk, row.target)) for row in assignments]


def _replace(
    server: MobileServer,
    model: type[OrganizationByServer] | type[ServiceByServer],
    field: str,
    assignments: list[Assignment],
) -> None:
    """Make the rows of a tab be `assignments`, touching only those that differ."""
    errors: list[FieldError] = []
    seen: set[int] = set()
    for index, assignment in enumerate(assignments):
        if assignment.target.pk in seen:
            errors.append(
                FieldError(f"/{field}s/{index}/{field}", "duplicate", f"{assignment.target} is listed twice.")
            )
        seen.add(assignment.target.pk)
        row = model(server=server, is_active=assignment.is_active, **{field: assignment.target})
        try:
            row.clean()
        except ValidationError as error:
            errors.extend(
                FieldError(f"/{field}s/{index}/{field}", "other_client", message) for message in error.messages
            )
    if errors:
        raise Invalid(f"The list of {field}s is not valid.", errors=errors)
    present = {getattr(row, f"{field}_id"): row for row in model._default_manager.filter(server=server)}
    for target_id, row in present.items():
        if target_id not in seen:
            row.delete()
    for assignment in assignments:
        existing = present.get(assignment.target.pk)
        if existing is None:
            model(server=server, is_active=assignment.is_active, **{field: assignment.target}).save()
        elif existing.is_active != assignment.is_active:
            existing.is_active = assignment.is_active
            existing.save(update_fields=["is_active"])


def assignments_below(organization: Organization) -> str | None:
    """Say which servers are assigned within the subtree of `organization`, if any."""
    names = sorted(
        set(
            OrganizationByServer.objects.filter(organization__in=organization.subtree()).values_list(
                "server__name", flat=True
            )
        )
    )
    return f"servers of its client are assigned below it ({', '.join(names)})" if names else None
