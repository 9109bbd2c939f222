from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from django.db import transaction
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import User
from backoffice.api.filters import ChoiceFilter, FlagFilter, MomentFilter, TextFilter, TreeFilter
from backoffice.api.parsing import query_error, query_flag
from backoffice.api.views import Collection, Records
from notices.api.serializers import (
    ChannelSerializer,
    DeliverySerializer,
    NewChannelSerializer,
    NewSecretSerializer,
    NoticeSerializer,
    TestResultSerializer,
)
from notices.channels import roll_secret, send_test
from notices.delivery import deliver_again
from notices.models import Channel, ChannelKind, Delivery, DeliveryState, Notice


class ChannelCollection(Collection):
    """Who is told: e-mail and webhook channels.

    A webhook's secret is answered once, when the channel is made or by `secret/`, and never read again.
    """

    queryset = Channel.objects.select_related("organization").order_by()
    serializer_class = ChannelSerializer
    texts_in_order = ("name",)
    action_rights = {"test": "change", "secret": "change"}
    filters = (
        TextFilter("name", "name", "Exactly this name."),
        ChoiceFilter("kind", ChannelKind.values, "Of this kind."),
        FlagFilter("is_active", "Active or not."),
        TreeFilter("organization", "Limited to the organization with this code, see scope."),
    )

    @extend_schema(responses={201: NewChannelSerializer})
    def create(self, request: Request, *args: object, **kwargs: object) -> Response:
        with self.writing():
            form = cast(ChannelSerializer, self.get_serializer(data=request.data))
            form.is_valid(raise_exception=True)
            answer = self.answer(self.reread(form.save()), status.HTTP_201_CREATED)
            answer.data = {**answer.data, "secret": self._told_once(form.new_secret)}
            return answer

    @extend_schema(request=None, responses={201: NewSecretSerializer})
    @action(detail=True, methods=["post"])
    def secret(self, request: Request, pk: int) -> Response:
        """Give a webhook a new secret; the former one is no longer used."""
        with self.writing():
            secret = roll_secret(self.find_to_change(), timezone.now(), actor=self.caller)
            return Response({"secret": self._told_once(secret)}, status=status.HTTP_201_CREATED)

    def _told_once(self, secret: str) -> str | None:
        """Return a secret that was made, but not one that is forgotten again."""
        return None if query_flag(self.request, "dry_run") else secret or None

    @extend_schema(request=None, responses={200: TestResultSerializer})
    @action(detail=True, methods=["post"])
    def test(self, request: Request, pk: int) -> Response:
        """Send a test notice at once and tell how that went; a dry run is refused."""
        if query_flag(request, "dry_run"):
            raise query_error("dry_run", "not_possible", "A test is sent or it is not.")
        with transaction.atomic():
            channel = self.find_to_change()
        # Outside any transaction: no lock is held while somebody else's server takes its time.
        attempt = send_test(channel, timezone.now(), actor=self.caller)
        return Response(TestResultSerializer(attempt, context=self.get_serializer_context()).data)


class NoticeCollection(Records):
    """What was told, the latest first."""

    queryset = Notice.objects.select_related("organization")
    serializer_class = NoticeSerializer
    filters = (
        TextFilter("key", "key", "With this key."),
        TextFilter("kind", "kind", "Of this kind."),
        MomentFilter("since", "at__gte", "Told at this time or later."),
        MomentFilter("until", "at__lt", "Told before this time."),
        TreeFilter("organization", "About the organization with this code, see scope."),
    )


class DeliveryCollection(Records):
    """The deliveries of notices, those of the latest notice first, each with its attempts."""

    queryset = Delivery.objects.select_related("notice", "channel").prefetch_related("log")
    serializer_class = DeliverySerializer
    problems = {"post": (409,)}
    filters = (
        TextFilter("notice", "notice__key", "Of the notice with this key."),
        TextFilter("channel", "channel__name", "Through the channel with this name."),
        ChoiceFilter("state", DeliveryState.values, "In this state."),
    )

    def needed_rights(self, method: str) -> Iterable[str]:
        return ("notices.change_channel",) if self.action == "retry" else super().needed_rights(method)

    def known_query(self, method: str) -> frozenset[str]:
        return frozenset() if self.action == "retry" else super().known_query(method)

    @extend_schema(request=None, responses={200: DeliverySerializer})
    @action(detail=True, methods=["post"])
    def retry(self, request: Request, pk: int) -> Response:
        """Start over with a delivery that was given up; 409 for any other."""
        deliver_again(self.find(self.get_queryset()), timezone.now(), actor=cast(User, request.user))
        return self.answer(self.find(self.get_queryset()))
