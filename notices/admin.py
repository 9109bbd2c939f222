"""The windows "Notice channels", "Notices" and "Deliveries"."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.views.decorators.cache import never_cache

from accounts.scope import is_limited
from backoffice.look import (
    OrganizationFilter,
    RecordWindow,
    Tab,
    Window,
    action,
    actor_of,
    check_boxes,
    display,
    text_area,
)
from backoffice.refusals import Refusal
from notices import kinds
from notices.channels import roll_secret, save_channel, send_test
from notices.delivery import deliver_again
from notices.models import Channel, ChannelKind, Delivery, DeliveryAttempt, DeliveryState, Notice
from notices.visibility import may_see_url, visible_deliveries


class ChannelForm(forms.ModelForm):  # type: ignore[type-arg]
    """A channel as people fill it in: recipients by line, kinds of notice by check box."""

    recipients = forms.CharField(
        required=False,
        max_length=8_000,
        widget=text_area(attrs={"rows": 4}),
        help_text="E-mail addresses, one per line, at most 20.",
    )
    kinds = forms.MultipleChoiceField(
        label="Kinds of notice",
        required=False,
        choices=kinds.choices,
        widget=check_boxes,
        help_text="Only notices of these kinds. None ticked: all kinds.",
    )

    class Meta:
        model = Channel
        fields = ("name", "kind", "is_active", "recipients", "url", "organization", "kinds")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial["recipients"] = "\n".join(self.instance.recipients)

    def clean_recipients(self) -> list[str]:
        return self.cleaned_data["recipients"].split()  # type: ignore[no-any-return]


@admin.register(Channel)
class ChannelWindow(Window):
    form = ChannelForm
    list_display = ("name", "kind", "destination", "organization_or_all", "kinds_told", "is_active")
    list_filter = ("kind", "is_active", ("organization", OrganizationFilter))
    list_select_related = ("organization",)
    search_fields = ("name", "organization__path", "organization__code")
    search_help_text = "Search by name or organization"
    autocomplete_fields = ("organization",)
    list_before_template = "notices/mail_server.html"
    change_form_before_template = "notices/mail_server.html"
    actions_detail = ("test", "new_secret")

    def get_fields(self, request: HttpRequest, obj: Channel | None = None) -> tuple[str, ...]:
        """Return the form's fields; who may not change a webhook sees only the host of its address."""
        if obj is None or may_see_url(request.user):
            return ("name", "kind", "is_active", "recipients", "url", "organization", "kinds")
        return ("name", "kind", "is_active", "destination", "organization", "kinds_told")

    def get_readonly_fields(self, request: HttpRequest, obj: Channel | None = None) -> tuple[str, ...]:
        return ("destination", "kinds_told")

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        if "organization" in form.base_fields and is_limited(request.user):
            form.base_fields["organization"].required = True
        return form

    @display(description="Goes to")
    def destination(self, channel: Channel) -> str:
        return channel.destination

    @display(description="Notices about", ordering="organization__path")
    def organization_or_all(self, channel: Channel) -> str:
        return str(channel.organization) if channel.organization else "Everything"

    @display(description="Kinds of notice")
    def kinds_told(self, channel: Channel) -> str:
        return ", ".join(kinds.label_of(kind) for kind in channel.kinds) or "All"

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        return super().changelist_view(request, {**(extra_context or {}), **_mail_server()})

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        # Positional after the request: object_id, form_url, extra_context.
        kwargs["extra_context"] = {**(kwargs.get("extra_context") or {}), **_mail_server()}
        return super().changeform_view(request, *args[:2], **kwargs)

    def save_model(self, request: HttpRequest, obj: Channel, form: Any, change: bool) -> None:
        actor = actor_of(request)
        assert actor is not None  # noqa: S101 - the windows are for people who have logged in
        request.secret = save_channel(obj, actor=actor)  # type: ignore[attr-defined] # shown by the answer only

    def response_add(self, request: HttpRequest, obj: Channel, post_url_continue: Any = None) -> HttpResponse:
        return self._secret_of(request, obj) or super().response_add(request, obj, post_url_continue)

    def response_change(self, request: HttpRequest, obj: Channel) -> HttpResponse:
        return self._secret_of(request, obj) or super().response_change(request, obj)

    def _secret_of(self, request: HttpRequest, channel: Channel) -> HttpResponse | None:
        """Show the secret that saving has made, if it has made one."""
        secret: str = getattr(request, "secret", "")
        return self._secret_page(request, channel, secret) if secret else None

    def _secret_page(self, request: HttpRequest, channel: Channel, secret: str) -> HttpResponse:
        answer = self.render_page(
            request, "notices/secret.html", f"Secret: {channel}", channel=channel, original=channel, secret=secret
        )
        answer["Cache-Control"] = "no-store"
        return answer

    @action(description="Send a test", icon="send", permissions=["change"])
    def test(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Send a test notice at once and show how that went."""
        return never_cache(self._test)(request, object_id)

    def _test(self, request: HttpRequest, object_id: str) -> HttpResponse:
        channel = self.visible_object(request, object_id, change=True)
        context: dict[str, Any] = {"channel": channel, "original": channel}
        if request.method == "POST":
            context["attempt"] = send_test(channel, timezone.now(), actor=actor_of(request))
        return self.render_page(request, "notices/test.html", f"Send a test: {channel}", **context)

    @action(description="New secret", icon="key", permissions=["change"])
    def new_secret(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Give a webhook a new secret and show it, this once."""
        return never_cache(self._new_secret)(request, object_id)

    def _new_secret(self, request: HttpRequest, object_id: str) -> HttpResponse:
        channel = self.visible_object(request, object_id, change=True)
        secret = ""
        if request.method == "POST":
            try:
                secret = roll_secret(channel, timezone.now(), actor=actor_of(request))
            except Refusal as refusal:
                messages.error(request, refusal.detail)
                return HttpResponseRedirect(self.window_url("change", channel.pk))
        return self._secret_page(request, channel, secret)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Count what goes with a channel: its log can be long, and needs no right of its own."""
        channels = list(objs)
        deliveries = Delivery.objects.filter(channel__in=channels).count()
        counts = {"notice channels": len(channels), "deliveries": deliveries}
        return [str(channel) for channel in channels], counts, set(), []


class KindFilter(admin.SimpleListFilter):
    title = "kind"
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [*kinds.choices(), (kinds.TEST, kinds.label_of(kinds.TEST))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Notice]) -> QuerySet[Notice]:
        return queryset.filter(kind=self.value()) if self.value() else queryset


class DeliveryFilter(admin.SimpleListFilter):
    title = "delivery"
    parameter_name = "delivery"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return DeliveryState.choices

    def queryset(self, request: HttpRequest, queryset: QuerySet[Notice]) -> QuerySet[Notice]:
        if self.value() not in DeliveryState.values:
            return queryset
        seen = visible_deliveries(_person(request)).filter(state=self.value())
        return queryset.filter(pk__in=seen.order_by().values("notice"))


class DeliveryTab(Tab):
    model = Delivery
    fields = ("channel", "state", "attempts", "next_attempt_at", "delivered_at", "last_error", "details")
    readonly_fields = fields
    can_delete = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Delivery]:
        return visible_deliveries(_person(request)).select_related("channel")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @display(description="Attempts")
    def details(self, delivery: Delivery) -> str:
        return format_html('<a href="{}">Show</a>', reverse("admin:notices_delivery_change", args=[delivery.pk]))


@admin.register(Notice)
class NoticeWindow(RecordWindow):
    list_display = ("at", "subject", "kind_told", "organization", "delivered", "waiting", "given_up")
    list_filter = (KindFilter, DeliveryFilter, ("organization", OrganizationFilter))
    list_select_related = ("organization",)
    search_fields = ("subject", "text", "key")
    search_help_text = "Search by subject, text or key"
    date_hierarchy = "at"
    fields = (("at", "kind_told"), "subject", "text", "organization", "key", "data")
    readonly_fields = ("at", "kind_told", "subject", "text", "organization", "key", "data")
    inlines: ClassVar[list[Any]] = [DeliveryTab]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Notice]:
        seen = Q(deliveries__in=visible_deliveries(_person(request)))
        counts = {
            f"{state}_count": Count("deliveries", filter=seen & Q(deliveries__state=state))
            for state in DeliveryState.values
        }
        return super().get_queryset(request).annotate(**counts)  # type: ignore[no-any-return]

    @display(description="Kind", ordering="kind")
    def kind_told(self, notice: Notice) -> str:
        return kinds.label_of(notice.kind)

    @display(description="Delivered")
    def delivered(self, notice: Notice) -> int:
        return int(notice.delivered_count)  # type: ignore[attr-defined]

    @display(description="Waiting")
    def waiting(self, notice: Notice) -> int:
        return int(notice.waiting_count)  # type: ignore[attr-defined]

    @display(description="Given up")
    def given_up(self, notice: Notice) -> int:
        return int(notice.given_up_count)  # type: ignore[attr-defined]


class AttemptTab(Tab):
    model = DeliveryAttempt
    verbose_name_plural = "Attempts"
    can_delete = False

    def get_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        fields = ("at", "is_success", "status", "took_ms", "error")
        return (*fields, "answer") if may_see_url(_person(request)) else fields

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return self.get_fields(request, obj)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("notices.view_delivery")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Delivery)
class DeliveryWindow(RecordWindow):
    list_display = ("notice", "channel", "state", "attempts", "next_attempt_at", "delivered_at", "last_error")
    list_filter = ("state", "channel__kind")
    list_select_related = ("notice", "channel")
    search_fields = ("notice__subject", "channel__name", "delivery_id")
    search_help_text = "Search by notice, channel or delivery id"
    fields = (
        "notice",
        "channel",
        "delivery_id",
        ("state", "attempts"),
        ("next_attempt_at", "delivered_at"),
        "last_error",
    )
    readonly_fields = (
        "notice",
        "channel",
        "delivery_id",
        "state",
        "attempts",
        "next_attempt_at",
        "delivered_at",
        "last_error",
    )
    inlines: ClassVar[list[Any]] = [AttemptTab]
    actions_detail = ("again",)

    def has_again_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may_see_url(request.user)

    @action(description="Deliver again", icon="replay", permissions=["again"])
    def again(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Start over with a delivery that was given up, once that is confirmed."""
        delivery = self.visible_object(request, object_id)
        if request.method == "POST":
            try:
                deliver_again(delivery, timezone.now(), actor=actor_of(request))
                messages.success(request, "It is delivered again within seconds.")
            except Refusal as refusal:
                messages.error(request, refusal.detail)
            return HttpResponseRedirect(self.window_url("change", delivery.pk))
        return self.render_page(
            request,
            "notices/again.html",
            f"Deliver again: {delivery.notice}",
            delivery=delivery,
            original=delivery,
            can_repeat=delivery.state == DeliveryState.GIVEN_UP,
        )


def _mail_server() -> dict[str, Any]:
    """Return what the windows say about e-mail."""
    has_email = Channel.objects.filter(kind=ChannelKind.EMAIL, is_active=True).exists()
    return {"lacks_mail_server": not settings.EMAIL_URL, "has_email_channels": has_email}


def _person(request: HttpRequest) -> Any:
    return request.user
