from typing import Any

from django.db.models import Prefetch, Q, QuerySet

from accounts.models import User
from accounts.scope import is_limited, visible_organizations
from backoffice.api.filters import ChoiceFilter, FlagFilter, TextFilter, TreeFilter
from backoffice.api.views import Collection, by_code_point
from backoffice.refusals import Forbidden
from servers.api.serializers import ServerSerializer
from servers.models import MobileServer, OrganizationByServer, ServerType, ServiceByServer
from servers.scope import may_change_server


class ServerCollection(Collection):
    """Mobile servers, whom they serve and what they provide.

    `organizations` and `services` are written whole. An empty key is made from the name; the address is
    brought into its normal form. Problems: 400 for an address with a query, a fragment or a user name, a key
    or name that is taken, a row given twice, and an organization of another client.
    """

    queryset = MobileServer.objects.select_related("client", "state", "report").order_by("priority")
    serializer_class = ServerSerializer
    observed = ("status", "status_since", "status_cause", "is_flapping", "last_seen_at")
    texts_in_order = ("name", "key")
    filters = (
        TextFilter("key", "key__iexact", "With this key, whatever its case."),
        TextFilter("name", "name", "Exactly this name."),
        TextFilter("client", "client__code", "Of the client with this code."),
        ChoiceFilter("server_type", ServerType.values, "Of this type."),
        FlagFilter("all_organizations", "Serving all organizations of its client or not."),
        FlagFilter("all_services", "Providing all services or not."),
        FlagFilter("is_active", "Active or not."),
        TreeFilter("organizations_by_server__organization", "Assigned to the organization with this code, see scope."),
    )

    def objects(self) -> QuerySet[MobileServer]:
        user = self.request.user
        organizations = OrganizationByServer.objects.select_related("organization").order_by(
            by_code_point("organization__code")
        )
        if isinstance(user, User) and is_limited(user):
            above = user.organizations.all().get_ancestors()  # type: ignore[attr-defined]
            organizations = organizations.filter(
                Q(organization__in=visible_organizations(user)) | Q(organization__in=above)
            )
        services = ServiceByServer.objects.select_related("service").order_by(by_code_point("service__name"))
        return (
            super()
            .objects()
            .prefetch_related(
                Prefetch("organizations_by_server", organizations), Prefetch("services_by_server", services)
            )
        )

    def find_to_change(self) -> Any:
        """Refuse those who do not see the whole client: tabs are written whole, so they would drop rows unseen."""
        server = super().find_to_change()
        if not may_change_server(self.caller, server):
            raise Forbidden("Only whoever administers the server's whole client changes the server.")
        return server
