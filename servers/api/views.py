from contextlib import AbstractContextManager
from typing import Any

from django.db.models import Prefetch, Q, QuerySet
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import User
from accounts.scope import is_limited, visible_organizations
from backoffice.api.filters import ChoiceFilter, FlagFilter, MomentFilter, TextFilter, TreeFilter
from backoffice.api.views import Collection, Records, by_code_point
from backoffice.refusals import Forbidden
from organizations.tree import tree_write
from servers.agent_tokens import has_agent, issue_agent_token, revoke_agent_tokens
from servers.api.serializers import AgentTokenSerializer, ServerSerializer, StatusTransitionSerializer
from servers.models import (
    MobileServer,
    OrganizationByServer,
    ServerStatus,
    ServerType,
    ServiceByServer,
    StatusTransition,
)
from servers.scope import may_change_server


class ServerCollection(Collection):
    """Mobile servers, whom they serve and what they provide.

    `organizations` and `services` are written whole. An empty key is made from the name; the address is
    brought into its normal form. Problems: 400 for an address with a query, a fragment or a user name, a key
    or name that is taken, a row given twice, and an organization of another client.
    """

    queryset = MobileServer.objects.select_related("client", "state", "report").order_by("priority")
    serializer_class = ServerSerializer
    observed = ("status", "status_since", "status_cause", "is_flapping", "last_seen_at", "has_agent")
    action_rights = {"agent_token": "change", "revoke_agent": "change"}
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

    def lock(self) -> AbstractContextManager[None]:
        return tree_write()

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
        tabs = Prefetch("organizations_by_server", organizations), Prefetch("services_by_server", services)
        servers: QuerySet[MobileServer] = super().objects().annotate(has_agent=has_agent()).prefetch_related(*tabs)
        return servers

    def find_to_change(self) -> Any:
        """Refuse those who do not see the whole client: tabs are written whole, so they would drop rows unseen."""
        server = super().find_to_change()
        if not may_change_server(self.caller, server):
            raise Forbidden("Only whoever administers the server's whole client changes the server.")
        return server

    @extend_schema(request=None, responses={201: AgentTokenSerializer})
    @action(detail=True, methods=["post"], url_path="agent-token")
    def agent_token(self, request: Request, pk: int) -> Response:
        """Make a token for the server's agent, shown this once.

        The one it has stays valid until the new one is first used, at most 10 minutes.
        """
        with self.writing():
            server = self.find_to_change()
            token = issue_agent_token(server.pk, timezone.now(), actor=self.caller)
            answer = AgentTokenSerializer({"token": token.text, "server": server.key})
            return Response(answer.data, status=status.HTTP_201_CREATED)

    @extend_schema(responses={204: None})
    @agent_token.mapping.delete
    def revoke_agent(self, request: Request, pk: int) -> Response:
        """Revoke the agent's tokens; revoking twice changes nothing. The server is called from then on."""
        with self.writing():
            revoke_agent_tokens(self.find_to_change().pk, timezone.now(), actor=self.caller)
            return Response(status=status.HTTP_204_NO_CONTENT)


class StatusTransitionRecords(Records):
    """Every change of a server's state, with its cause and who saw it; written by the Booster alone.

    Those of deleted servers stay, with `server` as their key was then.
    """

    queryset = StatusTransition.objects.select_related("server").order_by("-at", "-pk")
    serializer_class = StatusTransitionSerializer
    filters = (
        TextFilter("server", "server_key__iexact", "Of the server with this key, whatever its case."),
        ChoiceFilter("from_status", ServerStatus.values, "Out of this state."),
        ChoiceFilter("to_status", ServerStatus.values, "Into this state."),
        MomentFilter("since", "at__gte", "At this time or later."),
        MomentFilter("until", "at__lt", "Before this time."),
        TreeFilter(
            "server__organizations_by_server__organization",
            "Of servers assigned to the organization with this code, see scope.",
        ),
    )
