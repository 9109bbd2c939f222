"""Which incidents, maintenance and sightings a user may see, and whose maintenance he may plan."""

from __future__ import annotations

from django.contrib.auth.models import AnonymousUser
from django.db.models import Q, QuerySet

from accounts.models import User
from accounts.scope import is_limited, visible_organizations
from backoffice.visibility import visible
from fleet.models import Incident, Maintenance, Reachability
from organizations.models import Organization
from servers.models import MobileServer, OrganizationByServer
from servers.scope import may_change_server, visible_servers
from terminals.models import Terminal

Person = User | AnonymousUser


def visible_incidents(user: Person) -> QuerySet[Incident]:
    """Return the incidents of servers and terminals `user` may see; the Booster's own only to who sees everything."""
    incidents = Incident.objects.all()
    if not is_limited(user):
        return incidents
    terminals = visible(Terminal, user).order_by()
    return incidents.filter(Q(server__in=visible_servers(user).order_by()) | Q(terminal__in=terminals))


def visible_maintenance(user: Person) -> QuerySet[Maintenance]:
    """Return the maintenance of servers and organizations `user` may see."""
    maintenance = Maintenance.objects.all()
    if not is_limited(user):
        return maintenance
    organizations = visible_organizations(user).order_by()
    return maintenance.filter(Q(server__in=visible_servers(user).order_by()) | Q(organization__in=organizations))


def visible_reachability(user: Person) -> QuerySet[Reachability]:
    """Return what observers that `user` may see said of servers he may see.

    A server of the whole client is also observed by stores he does not know.
    """
    seen = Reachability.objects.all()
    if not is_limited(user):
        return seen
    servers = visible_servers(user).order_by()
    observers = Q(observing_terminal__in=visible(Terminal, user).order_by()) | Q(observing_server__in=servers)
    return seen.filter(observers, server__in=servers)


def may_plan_maintenance(user: Person, server: MobileServer | None, organization: Organization | None) -> bool:
    """Tell whether `user` may silence a server, or the servers of an organization.

    Servers: those he may change, and those that serve nobody but organizations he sees; the others
    serve stores that he does not answer for. Organizations: those he sees, unless that silences a server
    that others need.
    """
    if not is_limited(user):
        return True
    organizations = visible_organizations(user).order_by()
    rows = OrganizationByServer.objects.filter(is_active=True).order_by()
    if organization is not None:
        silenced = rows.filter(organization__in=organization.subtree().order_by(), server__all_organizations=False)
        shared = rows.filter(server__in=silenced.values("server")).exclude(organization__in=organizations)
        return organizations.filter(pk=organization.pk).exists() and not shared.exists()
    if server is None or may_change_server(user, server):
        return True
    served = rows.filter(server=server)
    return (
        not server.all_organizations and served.exists() and not served.exclude(organization__in=organizations).exists()
    )
