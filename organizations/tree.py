"""Every write to the organization tree."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.db.models import ProtectedError, Value
from django.db.models.functions import Concat, Substr

from backoffice.refusals import Conflict, FieldError, Invalid, describe_blockers
from organizations.models import PATH_SEPARATOR, Organization, OrganizationKind

ORGANIZATION_TREE_LOCK = (0x0B05, 1)

PARENT_KINDS: dict[str, frozenset[str]] = {
    OrganizationKind.CLIENT: frozenset(),
    OrganizationKind.REGION: frozenset({OrganizationKind.CLIENT, OrganizationKind.REGION}),
    OrganizationKind.STORE: frozenset({OrganizationKind.CLIENT, OrganizationKind.REGION}),
}


class TreeConflict(Conflict):
    type = "/problems/organization-tree"
    title = "The organization tree does not allow this"


class OrganizationInUse(Conflict):
    type = "/problems/in-use"
    title = "Still in use"


ClientBinding = Callable[[Organization], str | None]
# Rooms above register what ties a subtree to its client: the function gets the root of the moved
# subtree and says what stands in the way, or None.
client_bindings: list[ClientBinding] = []


@contextmanager
def tree_write() -> Iterator[None]:
    """Let one writer at a time create, move or delete organizations.

    A tree write renumbers rows it never names, so row locks cannot protect it. Read the nodes you
    need inside the block; the lock ends with the transaction. SQLite needs none: its transactions
    are immediate, so there is one writer anyway.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", ORGANIZATION_TREE_LOCK)
        yield


def create_organization(
    *, code: str, name: str, kind: str, parent_id: int | None = None, is_active: bool = True
) -> Organization:
    """Add an organization as the last child of its parent.

    Raises Invalid for a parent that cannot hold this kind, django's ValidationError for bad fields.
    """
    with tree_write():
        parent = _fresh(parent_id) if parent_id is not None else None
        _check_place(kind, parent)
        organization = Organization(code=code, name=name, kind=kind, parent=parent, is_active=is_active)
        organization.path = _path(parent, name)
        organization.full_clean()
        organization.save()
        return organization


def move_organization(organization_id: int, parent_id: int | None) -> Organization:
    """Move an organization, with everything below it, to another parent.

    Raises TreeConflict for a move below an own descendant, or to another client while servers
    are assigned within the subtree; Invalid for a parent that cannot hold this kind.
    """
    with tree_write():
        organization = _fresh(organization_id)
        if organization.parent_id == parent_id:
            return organization
        parent = _fresh(parent_id) if parent_id is not None else None
        _check_place(organization.kind, parent)
        if parent is None:  # _check_place has refused it: only a client stands without, and it never moves
            return organization
        if parent.tree_id == organization.tree_id and organization.lft <= parent.lft <= organization.rght:
            raise TreeConflict(
                f"{organization.code} cannot be moved below {parent.code}, which lies below it.",
                errors=[FieldError("/parent", "own_descendant", f"{parent.code} lies below {organization.code}.")],
            )
        if parent.tree_id != organization.tree_id:
            reasons = [reason for binding in client_bindings if (reason := binding(organization))]
            if reasons:
                raise TreeConflict(
                    f"{organization.code} cannot be moved to another client: {'; '.join(reasons)}.",
                    errors=[FieldError("/parent", "other_client", reason) for reason in reasons],
                )
        organization.move_to(parent, "last-child")  # saves it as well
        _rewrite_paths(organization, _path(parent, organization.name))
        return _fresh(organization_id)


def update_organization(
    organization_id: int, *, code: str | None = None, name: str | None = None, is_active: bool | None = None
) -> Organization:
    """Rename, recode, activate or deactivate an organization; None leaves a field as it is."""
    with tree_write():
        organization = _fresh(organization_id)
        if code is not None:
            organization.code = code
        if name is not None:
            organization.name = name
        if is_active is not None:
            organization.is_active = is_active
        organization.full_clean()
        organization.save()
        _rewrite_paths(organization, _path(organization.parent, organization.name))
        return _fresh(organization_id)


def delete_organization(organization_id: int) -> None:
    """Delete an organization that has nothing below it and that nothing names.

    Raises OrganizationInUse naming what blocks.
    """
    with tree_write():
        organization = _fresh(organization_id)
        try:
            organization.delete()
        except ProtectedError as error:
            raise OrganizationInUse(
                f"{organization.code} cannot be deleted: {describe_blockers(error.protected_objects)}."
            ) from error


def _fresh(organization_id: int) -> Organization:
    organization = Organization.objects.filter(pk=organization_id).first()
    if organization is None:
        raise Invalid(
            "The organization does not exist.",
            errors=[FieldError("/parent", "does_not_exist", "The organization does not exist.")],
        )
    return organization  # type: ignore[no-any-return]


def _check_place(kind: str, parent: Organization | None) -> None:
    """Refuse a parent of the wrong kind (design, section 4 and the tree's contract)."""
    allowed = PARENT_KINDS.get(kind)
    if allowed is None:
        return  # full_clean names the unknown kind
    if parent is None and allowed:
        message = f"A {kind} needs a parent."
    elif parent is not None and not allowed:
        message = "A client has no parent: it is the root of its tree."
    elif parent is not None and parent.kind not in allowed:
        message = f"Nothing can lie below a store, and {parent.code} is one."
    else:
        return
    raise Invalid(message, errors=[FieldError("/parent", "wrong_parent", message)])


def _path(parent: Organization | None, name: str) -> str:
    return f"{parent.path}{PATH_SEPARATOR}{name}" if parent else name


def _rewrite_paths(organization: Organization, path: str) -> None:
    """Give a subtree its new path, in one statement whatever its size."""
    if organization.path != path:
        old_length = len(organization.path)
        organization.subtree().update(path=Concat(Value(path), Substr("path", old_length + 1)))


def as_validation_error(refusal: Exception, fields: frozenset[str] = frozenset()) -> ValidationError:
    """Return a refusal as a form error, on the fields a form has and otherwise on the whole form."""
    errors = getattr(refusal, "errors", ())
    by_field: dict[str, list[str]] = {}
    for error in errors:
        name = error.pointer.strip("/").split("/")[0]
        by_field.setdefault(name if name in fields else "__all__", []).append(error.detail)
    return ValidationError(by_field or {"__all__": [str(refusal)]})
