"""Who is told what: channels, notices, and every attempt to deliver one."""

from __future__ import annotations

from typing import Any, ClassVar
from urllib.parse import urlsplit
from uuid import uuid4

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import models
from simple_history.models import HistoricalRecords

from backoffice.outbound import AddressRefused, Policy, check_url
from notices import kinds
from organizations.models import Organization

MOST_RECIPIENTS = 20


def webhook_policy() -> Policy:
    """Return which addresses a webhook may call: never this machine, private ones only where that is set."""
    return Policy(private=settings.BOOSTER_WEBHOOK_PRIVATE)


class ChannelKind(models.TextChoices):
    EMAIL = "email", "E-mail"
    WEBHOOK = "webhook", "Webhook"


class Channel(models.Model):
    """A way by which people, or their programs, are told.

    A webhook's address can be a credential (many services put a token into it), so neither it nor the
    secret is part of the history; `target` is what may be shown of it. The secret is stored encrypted.
    """

    name = models.CharField(max_length=60, unique=True)
    kind = models.CharField(max_length=10, choices=ChannelKind.choices)
    is_active = models.BooleanField("active", default=True, help_text="An inactive channel is told nothing.")
    recipients = models.JSONField(
        "recipients", default=list, blank=True, help_text=f"E-mail addresses, at most {MOST_RECIPIENTS}."
    )
    url = models.CharField(
        "URL", max_length=500, blank=True, help_text="Where notices are posted to, starting with https://."
    )
    target = models.CharField(max_length=300, blank=True, editable=False)
    sealed_secret = models.TextField(blank=True, editable=False)
    organization = models.ForeignKey(
        Organization,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="notice_channels",
        help_text="Only notices about this organization and what lies below it. Empty: all notices.",
    )
    kinds = models.JSONField(
        "kinds of notice", default=list, blank=True, help_text="Only notices of these kinds. None: all kinds."
    )

    history = HistoricalRecords(excluded_fields=["url", "sealed_secret"])

    class Meta:
        ordering: ClassVar[list[str]] = ["name"]
        verbose_name = "notice channel"
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(condition=models.Q(kind__in=ChannelKind.values), name="channel_kind_known"),
        ]

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.target = _target(self.url)
        super().save(*args, **kwargs)

    def clean(self) -> None:
        """Refuse what cannot be delivered to; the fields of the other kind are emptied."""
        super().clean()
        problems: dict[str, ValidationError] = {}
        if self.is_webhook:
            self.recipients = []
            problem = _url_problem(self.url)
            if problem:
                problems["url"] = ValidationError(problem, "not_allowed" if self.url else "missing")
        elif self.kind == ChannelKind.EMAIL:
            self.url = ""
            problem = _recipients_problem(self.recipients)
            if problem:
                problems["recipients"] = ValidationError(problem, "invalid" if self.recipients else "missing")
        if not isinstance(self.kinds, list) or not all(isinstance(kind, str) for kind in self.kinds):
            problems["kinds"] = ValidationError("Give a list of kinds of notice.", "invalid")
        elif unknown := [kind for kind in self.kinds if kind not in dict(kinds.choices())]:
            problems["kinds"] = ValidationError(f"There is no kind of notice {unknown[0]!r}.", "invalid_choice")
        if problems:
            raise ValidationError(problems)

    @property
    def is_webhook(self) -> bool:
        return self.kind == ChannelKind.WEBHOOK

    @property
    def destination(self) -> str:
        """Where notices go, without what could be a secret."""
        return self.target if self.is_webhook else ", ".join(self.recipients)


def _target(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"[:300] if parts.netloc else ""


def _url_problem(url: str) -> str:
    if not url:
        return "A webhook needs a URL."
    try:
        check_url(url, webhook_policy())
    except AddressRefused as error:
        return str(error)
    if "@" in urlsplit(url).netloc or urlsplit(url).fragment:
        return "The URL has no user name, password or fragment."
    return ""


def _recipients_problem(recipients: object) -> str:
    if not isinstance(recipients, list) or not all(isinstance(address, str) for address in recipients):
        return "Give a list of e-mail addresses."
    if not 1 <= len(recipients) <= MOST_RECIPIENTS:
        return f"Give 1 to {MOST_RECIPIENTS} e-mail addresses."
    for address in recipients:
        try:
            validate_email(address)
        except ValidationError:
            return f"{address!r} is not an e-mail address."
    if len({address.lower() for address in recipients}) < len(recipients):
        return "An e-mail address is given twice."
    return ""


class Notice(models.Model):
    """Something that people are told. `key` names what happened: it is told once, however often it is seen."""

    at = models.DateTimeField(db_index=True)
    kind = models.CharField(max_length=60, db_index=True)
    key = models.CharField(max_length=255, unique=True, help_text="Names what happened, for example an incident.")
    subject = models.CharField(max_length=200)
    text = models.TextField(blank=True)
    data = models.JSONField(default=dict, blank=True)
    organization = models.ForeignKey(
        Organization, null=True, blank=True, on_delete=models.SET_NULL, related_name="notices"
    )

    class Meta:
        ordering: ClassVar[list[str]] = ["-at", "-pk"]

    def __str__(self) -> str:
        return self.subject


class DeliveryState(models.TextChoices):
    WAITING = "waiting", "Waiting"
    DELIVERED = "delivered", "Delivered"
    GIVEN_UP = "given_up", "Given up"


class Delivery(models.Model):
    """A notice on its way through one channel.

    `next_attempt_at` is also the lease: who sends moves it ahead first, so that nobody else sends, and
    whoever is killed while sending is followed by another attempt. `delivery_id` stays the same through
    all attempts, for receivers to drop doubles by.
    """

    delivery_id = models.UUIDField("delivery id", unique=True, default=uuid4, editable=False)
    notice = models.ForeignKey(Notice, on_delete=models.CASCADE, related_name="deliveries")
    channel = models.ForeignKey(Channel, on_delete=models.CASCADE, related_name="deliveries")
    state = models.CharField(max_length=10, choices=DeliveryState.choices, default=DeliveryState.WAITING)
    attempts = models.PositiveIntegerField(default=0, help_text="How often it was tried since it was last due.")
    next_attempt_at = models.DateTimeField(null=True, blank=True)
    delivered_at = models.DateTimeField(null=True, blank=True)
    last_error = models.CharField(max_length=500, blank=True)

    class Meta:
        ordering: ClassVar[list[str]] = ["-notice__at", "-pk"]
        verbose_name_plural = "deliveries"
        indexes: ClassVar[list[models.Index]] = [
            models.Index(
                fields=["next_attempt_at"],
                condition=models.Q(state=DeliveryState.WAITING),
                name="delivery_waiting",
            ),
        ]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["notice", "channel"], name="delivery_once_per_channel"),
        ]

    def __str__(self) -> str:
        return str(self.delivery_id)


class DeliveryAttempt(models.Model):
    """One attempt: `status` is the HTTP status where there was one, `error` is empty where it succeeded.

    A refusal's `answer` can repeat the address it was sent to, so not everybody may read it.
    """

    delivery = models.ForeignKey(Delivery, on_delete=models.CASCADE, related_name="log")
    at = models.DateTimeField()
    is_success = models.BooleanField("delivered")
    status = models.PositiveSmallIntegerField(null=True, blank=True, help_text="HTTP status of the answer.")
    took_ms = models.PositiveIntegerField(help_text="How long the attempt took, in milliseconds.")
    error = models.CharField(max_length=500, blank=True)
    answer = models.CharField(
        max_length=200, blank=True, help_text="How a refusal began; for those who may change the channel."
    )

    class Meta:
        ordering: ClassVar[list[str]] = ["-at", "-pk"]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M:%S} {'delivered' if self.is_success else self.error}"
