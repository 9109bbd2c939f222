from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.db.models import QuerySet
from django.http import Http404
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from backoffice.api.filters import CaseFilter, ChoiceFilter, FlagFilter, MomentFilter, TextFilter, TreeFilter
from backoffice.api.views import ApiView, Collection, Records
from backoffice.visibility import visible
from fleet.api.serializers import IncidentSerializer, MaintenanceSerializer, UptimeSerializer
from fleet.maintenance import windows
from fleet.models import Incident, IncidentKind, Maintenance
from fleet.planning import cancel
from servers.history import PERIODS_DAYS, uptimes_of
from servers.models import MobileServer


class IncidentRecords(Records):
    """Outages, one from the loss of a server to its return; opened and closed by the Booster alone."""

    queryset = Incident.objects.select_related("server", "terminal").order_by("-opened_at", "-pk")
    serializer_class = IncidentSerializer
    filters = (
        ChoiceFilter("kind", IncidentKind.values, "Of this kind."),
        TextFilter("server", "server__key__iexact", "Of the server with this key, whatever its case."),
        TextFilter("terminal", "terminal__search_key", "Of the terminal with this search key."),
        FlagFilter("open", "Still open, or closed.", "closed_at__isnull"),
        MomentFilter("since", "opened_at__gte", "Opened at this time or later."),
        MomentFilter("until", "opened_at__lt", "Opened before this time."),
        TreeFilter(
            "server__organizations_by_server__organization",
            "Of terminals of the organization with this code and servers assigned to it, see scope.",
            or_lookups=("terminal__organization",),
        ),
    )


def _phase(name: str) -> Callable[[QuerySet[Maintenance]], QuerySet[Maintenance]]:
    return lambda queryset: getattr(queryset, name)(timezone.now())


class MaintenanceCollection(Collection):
    """Times in which servers are worked on: watched and shown, not alarmed, not counted as downtime.

    Of either a server or an organization, whose subtree's servers it then holds for. To end one that runs, set
    `ends_at` to now. Problems: 400 for both or neither of the two and for an end before the start, 403
    for a server that also serves organizations the caller does not administer.
    """

    queryset = Maintenance.objects.select_related("server", "organization", "created_by").order_by("-starts_at", "-pk")
    serializer_class = MaintenanceSerializer
    observed = ("phase",)
    filters = (
        TextFilter("server", "server__key__iexact", "Of the server with this key, whatever its case."),
        CaseFilter(
            "phase", {name: _phase(name) for name in ("coming", "running", "past")}, "Coming, running or past now."
        ),
        MomentFilter("since", "ends_at__gt", "Ending after this time."),
        MomentFilter("until", "starts_at__lt", "Beginning before this time."),
        TreeFilter("organization", "Of the organization with this code, see scope."),
    )

    def delete_object(self, instance: Any) -> None:
        cancel(instance, self.caller)


class ServerUptimeView(ApiView):
    """The share of the last 24 hours, 7, 30 and 90 days in which a server was online."""

    rights = ("servers.view_statustransition",)

    @extend_schema(operation_id="servers_uptime_retrieve", responses=UptimeSerializer)
    def get(self, request: Request, pk: int) -> Response:
        server = visible(MobileServer, request.user).filter(pk=pk).first()
        if server is None:
            raise Http404
        moment = timezone.now()
        excluded = windows(moment - timedelta(days=max(PERIODS_DAYS)), moment, [pk])
        uptimes = uptimes_of([pk], moment, excluded)[pk]
        periods = [
            {"days": days, "since": moment - timedelta(days=days), "uptime": share} for days, share in uptimes.items()
        ]
        return Response(UptimeSerializer({"server": server.key, "until": moment, "periods": periods}).data)
