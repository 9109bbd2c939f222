"""Modules and the mobile services they provide."""

from __future__ import annotations

from typing import ClassVar

from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import Q
from simple_history.models import HistoricalRecords

from backoffice.constraints import CheckOn

LONGEST_TIMEOUT_S = 86_400
NAME_VALIDATOR = RegexValidator(r"^\S+\Z", "A name has no blanks.", "invalid_name")
VERSION_VALIDATOR = RegexValidator(
    r"^\d+(\.\d+){0,3}([A-Za-z+-][\w.+-]*)?\Z",
    "Use up to four numbers, such as 1.1.6.3, and an optional suffix.",
    "invalid_version",
)
TIMEOUT_VALIDATORS = [MinValueValidator(1), MaxValueValidator(LONGEST_TIMEOUT_S)]


class RoutingType(models.TextChoices):
    """How a terminal calls the servers that provide a service (seed, "Mobile Services")."""

    FAILOVER = "failover", "Fail over"
    BROADCAST = "broadcast", "Broadcast"
    PING = "ping", "Ping"


class Module(models.Model):
    """A software module that provides services; installed from a manifest."""

    name = models.CharField(max_length=255, unique=True, validators=[NAME_VALIDATOR])
    version = models.CharField(max_length=40, validators=[VERSION_VALIDATOR])
    description = models.CharField(max_length=255, blank=True)
    in_development = models.BooleanField(
        default=False,
        help_text="Its services can be added, changed and deleted; otherwise they are a reference.",
    )

    history = HistoricalRecords()

    class Meta:
        ordering: ClassVar[list[str]] = ["name"]

    def __str__(self) -> str:
        return self.name


class MobileService(models.Model):
    """A service that a terminal calls by name on one or more mobile servers."""

    module = models.ForeignKey(Module, on_delete=models.PROTECT, related_name="services")
    name = models.CharField(
        "service",
        max_length=255,
        unique=True,
        validators=[NAME_VALIDATOR],
        help_text="Matched with a terminal's request by 'contains'; the longest matching name wins.",
    )
    description = models.CharField(max_length=255, blank=True)
    routing_type = models.CharField(max_length=10, choices=RoutingType.choices, default=RoutingType.FAILOVER)
    is_transactional = models.BooleanField(
        "transactional",
        default=False,
        help_text="Stores data: the terminal queues it until a server has accepted it.",
    )
    default_timeout_s = models.PositiveIntegerField(
        "default timeout (s)",
        null=True,
        blank=True,
        validators=TIMEOUT_VALIDATORS,
        help_text="As the module ships it.",
    )
    timeout_s = models.PositiveIntegerField(
        "timeout (s)",
        null=True,
        blank=True,
        validators=TIMEOUT_VALIDATORS,
        help_text="Overrides the module's default.",
    )
    is_active = models.BooleanField("active", default=True)

    history = HistoricalRecords()

    class Meta:
        ordering: ClassVar[list[str]] = ["name"]
        verbose_name = "mobile service"
        constraints: ClassVar[list[models.BaseConstraint]] = [
            CheckOn(
                on="is_transactional",
                condition=~Q(routing_type="ping", is_transactional=True),
                name="mobile_service_ping_not_transactional",
                violation_error_message="A ping service cannot be transactional.",
            ),
            models.CheckConstraint(
                condition=Q(routing_type__in=RoutingType.values), name="mobile_service_routing_type_known"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def effective_timeout_s(self) -> int | None:
        """The administrator's timeout, else the module's default, in seconds."""
        return self.timeout_s if self.timeout_s is not None else self.default_timeout_s
