"""Which mobile servers a user may see."""

from django.contrib.auth.models import AnonymousUser
from django.db.models import Q, QuerySet

from accounts.models import User
from accounts.scope import is_limited, visible_organizations
from servers.models import MobileServer, OrganizationByServer, StatusTransition


def may_change_server(user: User | AnonymousUser, server: MobileServer) -> bool:
    """Tell whether `user` sees the whole client that a stored server belongs to.

    Whoever sees less may look at the server, but a change would reach tills he does not administer.
    """
    return MobileServer.objects.filter(pk=server.pk, client__in=visible_organizations(user).order_by()).exists()


def visible_servers(user: User | AnonymousUser) -> QuerySet[MobileServer]:
    """Return the servers that serve any organization `user` may see.

    Those are the servers assigned to such an organization or to one above it, and those of its
    client that serve all organizations.
    """
    if not is_limited(user):
        return MobileServer.objects.all()
    if not isinstance(user, User):
        return MobileServer.objects.none()
    visible = visible_organizations(user)
    above = user.organizations.all().get_ancestors()  # type: ignore[attr-defined]
    assigned = OrganizationByServer.objects.filter(
        Q(organization__in=visible) | Q(organization__in=above), is_active=True
    )
    return MobileServer.objects.filter(
        Q(all_organizations=True, client__tree_id__in=visible.order_by().values("tree_id"))
        | Q(all_organizations=False, pk__in=assigned.values("server"))
    )


def visible_transitions(user: User | AnonymousUser) -> QuerySet[StatusTransition]:
    """Return the transitions of the servers `user` may see; of deleted servers only to who sees everything."""
    transitions = StatusTransition.objects.all()
    return transitions.filter(server__in=visible_servers(user).order_by()) if is_limited(user) else transitions
