"""What is seen while watching: outages, maintenance, who reaches whom, and how long we have watched."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Self

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from simple_history.models import HistoricalRecords

from organizations.models import Organization
from servers.models import MobileServer
from terminals.models import Terminal


class IncidentKind(models.TextChoices):
    SERVER = "server", "Server lost"
    TERMINAL = "terminal", "Terminal unseen"
    BOOSTER = "booster", "The Booster cannot reach anything"


class Incident(models.Model):
    """One outage, from the loss to the return (OMF-16). No second one opens while one is open.

    An incident with the same cause as another `follows` it, and is told with it. `told_at` and
    `told_closed_at` are when its opening and its closing went into a notice, its own or that of the
    incident it follows.
    """

    kind = models.CharField(max_length=10, choices=IncidentKind.choices, default=IncidentKind.SERVER)
    server = models.ForeignKey(MobileServer, null=True, blank=True, on_delete=models.CASCADE, related_name="incidents")
    terminal = models.ForeignKey(Terminal, null=True, blank=True, on_delete=models.CASCADE, related_name="incidents")
    opened_at = models.DateTimeField(db_index=True)
    cause = models.CharField(max_length=255)
    closed_at = models.DateTimeField(null=True, blank=True, db_index=True)
    closing_cause = models.CharField(max_length=255, blank=True)
    follows = models.ForeignKey("self", null=True, blank=True, on_delete=models.SET_NULL, related_name="followers")
    told_at = models.DateTimeField(null=True, blank=True)
    told_closed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar[list[str]] = ["-opened_at", "-pk"]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                fields=["server"],
                condition=Q(closed_at__isnull=True, server__isnull=False),
                name="incident_open_once_per_server",
            ),
            models.UniqueConstraint(
                fields=["terminal"],
                condition=Q(closed_at__isnull=True, terminal__isnull=False),
                name="incident_open_once_per_terminal",
            ),
            models.UniqueConstraint(
                fields=["kind"],
                condition=Q(closed_at__isnull=True, kind="booster"),
                name="incident_open_once_for_the_booster",
            ),
            models.CheckConstraint(
                condition=Q(kind="server", server__isnull=False, terminal__isnull=True)
                | Q(kind="terminal", server__isnull=True, terminal__isnull=False)
                | Q(kind="booster", server__isnull=True, terminal__isnull=True),
                name="incident_is_about_one_thing",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()}: {self.server or self.terminal or 'all servers'}"


class MaintenanceQuerySet(models.QuerySet["Maintenance"]):
    def running(self, moment: datetime) -> Self:
        return self.filter(starts_at__lte=moment, ends_at__gt=moment)

    def coming(self, moment: datetime) -> Self:
        return self.filter(starts_at__gt=moment)

    def past(self, moment: datetime) -> Self:
        return self.filter(ends_at__lte=moment)


class Maintenance(models.Model):
    """A time in which a server, or all servers of an organization's subtree, are worked on.

    They are watched and shown meanwhile, not alarmed, and the time does not count as downtime.
    """

    server = models.ForeignKey(
        MobileServer, null=True, blank=True, on_delete=models.CASCADE, related_name="maintenances"
    )
    organization = models.ForeignKey(
        Organization,
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="maintenances",
        help_text="All servers assigned to this organization or to one below it.",
    )
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField(db_index=True)
    reason = models.CharField(max_length=255)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        editable=False,
        on_delete=models.SET_NULL,
        related_name="+",
    )

    objects = MaintenanceQuerySet.as_manager()
    history = HistoricalRecords()

    class Meta:
        ordering: ClassVar[list[str]] = ["-starts_at", "-pk"]
        verbose_name = "maintenance"
        verbose_name_plural = "maintenance"
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(
                condition=Q(ends_at__gt=models.F("starts_at")),
                name="maintenance_ends_after_it_starts",
                violation_error_message="The end must be after the start.",
            ),
            models.CheckConstraint(
                condition=Q(server__isnull=True, organization__isnull=False)
                | Q(server__isnull=False, organization__isnull=True),
                name="maintenance_of_a_server_or_an_organization",
                violation_error_message="Choose either a server or an organization.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.server or self.organization}, {self.starts_at:%Y-%m-%d %H:%M}"

    def clean(self) -> None:
        super().clean()
        if self.starts_at and self.ends_at and self.ends_at <= self.starts_at:
            raise ValidationError({"ends_at": ValidationError("The end must be after the start.", "ends_too_early")})

    def phase(self, moment: datetime) -> str:
        """Return `coming`, `running` or `past`."""
        return "coming" if moment < self.starts_at else "running" if moment < self.ends_at else "past"


class Reachability(models.Model):
    """Whether one observer, a terminal or a server, can reach a server: what it said last.

    Shown, and never a reason by itself to change the server's state. `since` is when the observer first
    said what it says now, `seen_at` when it said so last.
    """

    server = models.ForeignKey(MobileServer, on_delete=models.CASCADE, related_name="reachability")
    observing_terminal = models.ForeignKey(Terminal, null=True, on_delete=models.CASCADE, related_name="observations")
    observing_server = models.ForeignKey(MobileServer, null=True, on_delete=models.CASCADE, related_name="observations")
    is_reachable = models.BooleanField()
    since = models.DateTimeField()
    seen_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["server", "observing_terminal"], name="reachability_once_per_terminal"),
            models.UniqueConstraint(fields=["server", "observing_server"], name="reachability_once_per_server"),
            models.CheckConstraint(
                condition=Q(observing_terminal__isnull=True, observing_server__isnull=False)
                | Q(observing_terminal__isnull=False, observing_server__isnull=True),
                name="reachability_has_one_observer",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.server_id} {'reachable' if self.is_reachable else 'unreachable'}"


class Pulse(models.Model):
    """That something which must go on all the time goes on: receiving reports, and watching.

    `since` is from when on it has gone on without a gap.
    """

    RECEIVER = "receiver"
    WATCHER = "watcher"

    name = models.CharField(max_length=20, primary_key=True)
    since = models.DateTimeField()
    at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.name} at {self.at:%Y-%m-%d %H:%M:%S}"
