"""The status of the Booster nodes, for monitoring and for whoever looks after them."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from backoffice.api.views import ApiView
from boosters.models import NodeRole
from boosters.pair import pair_standing


class NodeShape(serializers.Serializer[Any]):
    role = serializers.ChoiceField(NodeRole.choices)
    address = serializers.CharField()
    acting = serializers.BooleanField(source="is_acting", help_text="Else it stands by.")
    missing = serializers.BooleanField(source="is_missing", help_text="Not seen for 15 s, or never.")
    last_seen = serializers.DateTimeField(source="seen_at", allow_null=True, help_text="By the database's clock.")
    age_s = serializers.IntegerField(allow_null=True, help_text="Seconds since it was last seen.")
    started_at = serializers.DateTimeField(allow_null=True)
    version = serializers.CharField()
    host_name = serializers.CharField()
    hindrance = serializers.CharField(help_text="Why it does not take over, if it would.")


class PairShape(serializers.Serializer[Any]):
    acting = serializers.ChoiceField(NodeRole.choices, allow_null=True, help_text="Null while no node acts.")
    term = serializers.IntegerField(source="lease.term", help_text="Counts up with every change of the acting node.")
    acting_since = serializers.DateTimeField(allow_null=True)
    warnings = serializers.ListField(child=serializers.CharField(), help_text="What there is to see to, for people.")
    nodes = NodeShape(many=True)


class BoosterNodesView(ApiView):
    """The nodes in calling order, which of them acts, in which term, and what is missing."""

    rights = ("boosters.view_boosternode",)

    @extend_schema(operation_id="booster_nodes_retrieve", responses=PairShape)
    def get(self, request: Request) -> Response:
        return Response(PairShape(pair_standing()).data)
