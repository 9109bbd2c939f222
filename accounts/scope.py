"""Which organizations a user may see and edit."""

from collections.abc import Callable
from typing import Any

from django.contrib.auth.models import AnonymousUser
from django.db.models import Model, ProtectedError, QuerySet

from accounts.models import User
from events.models import Event
from organizations.models import Organization, OrganizationQuerySet

SYSTEM_ADMINISTRATOR = "System administrator"
STORE_OPERATOR = "Store operator"
READ_ONLY = "Read-only"


def is_limited(user: User | AnonymousUser) -> bool:
    """Tell whether `user` sees only part of the tree.

    Superusers see everything. Whoever was given organizations is limited to them; whoever was
    given none sees everything with the right to, and nothing without it.
    """
    if user.is_superuser:
        return False
    if not isinstance(user, User):
        return True
    return not user.has_perm("accounts.see_all_organizations") or user.organizations.exists()


def visible_organizations(user: User | AnonymousUser) -> OrganizationQuerySet:
    """Return the organizations `user` may see: all, or those given and what lies below them."""
    everything: OrganizationQuerySet = Organization.objects.all()
    if not is_limited(user):
        return everything
    if not isinstance(user, User):
        nothing: OrganizationQuerySet = everything.none()
        return nothing
    given: OrganizationQuerySet = everything.below(user.organizations.all())
    return given


def refuse_while_somebody_is_limited_to(instance: Organization, **kwargs: Any) -> None:
    """Protect an organization that users are limited to; connected to pre_delete.

    Without it, a user limited to this organization alone would be limited to nothing: who sees
    everything unless limited would then see everything. Raises django's ProtectedError.
    """
    users = set(instance.users.all())
    if users:
        raise ProtectedError(f"Users are limited to {instance.code}.", users)


def of_visible_organizations(model: type[Model]) -> Callable[[User | AnonymousUser], QuerySet[Any]]:
    """Return the rule of a model with an `organization`: that organization must be visible.

    What belongs to no organization is for those who see everything.
    """

    def rule(user: User | AnonymousUser) -> QuerySet[Any]:
        objects = model._default_manager.all()
        return objects.filter(organization__in=visible_organizations(user)) if is_limited(user) else objects

    return rule


def visible_events(user: User | AnonymousUser) -> QuerySet[Event]:
    """Return the log for those who see everything: its rows name objects of every organization."""
    return Event.objects.none() if is_limited(user) else Event.objects.all()
