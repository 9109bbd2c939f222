from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from accounts.models import User, UserToken
from backoffice.api.serializers import OrganizationField, RefField, StrictModelSerializer
from notices.channels import save_channel
from notices.models import MOST_RECIPIENTS, Channel, Delivery, DeliveryAttempt, Notice
from notices.visibility import may_see_url


def shows_urls(context: Mapping[str, Any]) -> bool:
    """Tell whether the caller may see what can be a credential: who may change channels, with a token that may."""
    request = context["request"]
    is_read_only = isinstance(request.auth, UserToken) and request.auth.is_read_only
    return not is_read_only and may_see_url(request.user)


class ChannelSerializer(StrictModelSerializer):
    """A channel; who may not change it reads only scheme and host of its `url`."""

    recipients = serializers.ListField(
        child=serializers.CharField(max_length=254),
        max_length=MOST_RECIPIENTS,
        required=False,
        help_text="E-mail addresses, of an e-mail channel.",
    )
    organization = OrganizationField(
        allow_null=True, required=False, help_text="Code or id; null for notices about everything."
    )
    organization_ref = RefField("organizations", "code", source="organization", allow_null=True)
    kinds = serializers.ListField(
        child=serializers.CharField(max_length=60),
        max_length=100,
        required=False,
        help_text="Only notices of these kinds; empty: of all kinds.",
    )

    class Meta:
        model = Channel
        fields = ("id", "name", "kind", "is_active", "recipients", "url", "organization", "organization_ref", "kinds")

    new_secret = ""
    """What saving has made, to be answered once."""

    def to_representation(self, instance: Channel) -> Any:
        told = super().to_representation(instance)
        if not shows_urls(self.context):
            told["url"] = instance.target
        return told

    def write(self, instance: Channel, values: dict[str, Any]) -> Channel:
        self.assign(instance, values)
        self.new_secret = save_channel(instance, actor=cast(User, self.context["request"].user))
        return instance


class NewChannelSerializer(ChannelSerializer):
    secret = serializers.CharField(
        read_only=True,
        allow_null=True,
        help_text="What a webhook's calls are signed with, shown this once; null for e-mail and in a dry run.",
    )

    class Meta(ChannelSerializer.Meta):
        fields = (*ChannelSerializer.Meta.fields, "secret")  # type: ignore[assignment]


class NewSecretSerializer(serializers.Serializer[Any]):
    """A webhook's new secret, shown this once; null in a dry run."""

    secret = serializers.CharField(allow_null=True)


class AttemptSerializer(serializers.ModelSerializer[DeliveryAttempt]):
    """One attempt; `answer` is how a refusal began, for those who may change the channel."""

    answer = serializers.SerializerMethodField()

    class Meta:
        model = DeliveryAttempt
        fields = ("at", "is_success", "status", "took_ms", "error", "answer")

    def get_answer(self, attempt: DeliveryAttempt) -> str:
        return attempt.answer if shows_urls(self.context) else ""


class TestResultSerializer(AttemptSerializer):
    delivery = serializers.IntegerField(source="delivery_id", help_text="The id of the delivery.")

    class Meta(AttemptSerializer.Meta):
        fields = (*AttemptSerializer.Meta.fields, "delivery")  # type: ignore[assignment]


class NoticeSerializer(StrictModelSerializer):
    organization = OrganizationField(read_only=True, allow_null=True, help_text="What it is about; null: everything.")
    organization_ref = RefField("organizations", "code", source="organization", allow_null=True)
    data = serializers.SerializerMethodField(help_text="The facts behind it, by kind.")  # type: ignore[assignment]

    class Meta:
        model = Notice
        fields = ("id", "at", "kind", "key", "subject", "text", "organization", "organization_ref", "data")

    @extend_schema_field({"type": "object", "additionalProperties": {}})
    def get_data(self, notice: Notice) -> Any:
        return notice.data


class DeliverySerializer(StrictModelSerializer):
    """A notice on its way through a channel; the latest attempt comes first in `log`."""

    notice = serializers.CharField(source="notice.key", read_only=True, help_text="Its key.")
    notice_ref = RefField("notices", "key", source="notice")
    channel = serializers.CharField(source="channel.name", read_only=True, help_text="Its name.")
    channel_ref = RefField("notice-channels", "name", source="channel")
    log = AttemptSerializer(many=True, read_only=True)

    class Meta:
        model = Delivery
        fields = (
            "id",
            "delivery_id",
            "notice",
            "notice_ref",
            "channel",
            "channel_ref",
            "state",
            "attempts",
            "next_attempt_at",
            "delivered_at",
            "last_error",
            "log",
        )
