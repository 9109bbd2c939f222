"""Mobile servers, the organizations they serve and the services they provide."""

from __future__ import annotations

from typing import ClassVar

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower
from simple_history.models import HistoricalRecords

from backoffice.constraints import UniqueOn
from backoffice.rolling_tokens import RollingToken
from organizations.models import Organization, OrganizationKind
from servers.address import normal_url
from servers.key_models import RevokedLogin, ServerSigningKey
from servers.status import Status
from services.models import MobileService

__all__ = [
    "AgentToken",
    "DefinedServices",
    "MobileServer",
    "OrganizationByServer",
    "RevokedLogin",
    "ServerReport",
    "ServerSigningKey",
    "ServerState",
    "ServerStatus",
    "ServerType",
    "ServiceByServer",
    "StatusTransition",
    "TransitionCount",
]

KEY_LENGTH = 32
HIGHEST_PRIORITY = 999_999
SHORTEST_PROBE_INTERVAL_S = 5
LONGEST_PROBE_TIMEOUT_S = 30
DAY_S = 86_400
LARGEST_CLOCK_OFFSET_S = 60
"""A host's clock that is off by more is warned of; no rule uses it."""
KEY_VALIDATOR = RegexValidator(r"^[A-Za-z0-9_-]+\Z", "Use letters, digits, '_' and '-'.", "invalid_key")


class ServerType(models.TextChoices):
    MAIN = "main", "Main server"
    STORE = "store", "Store server"


class DefinedServices(models.TextChoices):
    ONLY = "only", "Only those defined"
    ALL_EXCLUDING = "all_excluding", "All excluding defined"


class ServerStatus(models.TextChoices):
    ONLINE = Status.ONLINE.value, "Online"
    TRANSITION_TO_OFFLINE = Status.TRANSITION_TO_OFFLINE.value, "Transition to offline"
    OFFLINE = Status.OFFLINE.value, "Offline"
    TRANSITION_TO_ONLINE = Status.TRANSITION_TO_ONLINE.value, "Transition to online"


class MobileServer(models.Model):
    """A server that terminals call (seed, "Mobile Server Definition")."""

    client = models.ForeignKey(
        Organization,
        on_delete=models.PROTECT,
        related_name="mobile_servers",
        limit_choices_to={"kind": OrganizationKind.CLIENT},
        help_text="The client whose terminals may use it.",
    )
    key = models.CharField(
        "mobile server key",
        max_length=KEY_LENGTH,
        blank=True,
        validators=[KEY_VALIDATOR],
        help_text="Unique everywhere; the server itself is configured with the same key. Empty: made from the name.",
    )
    name = models.CharField(max_length=60)
    description = models.CharField(max_length=255, blank=True)
    server_type = models.CharField(
        max_length=10,
        choices=ServerType.choices,
        help_text="Only transactions sent to a main server are considered synchronized and safe.",
    )
    url = models.CharField(
        "URL",
        max_length=255,
        help_text="Where terminals reach it, with the context path: https://central.example/openbravo.",
    )
    priority = models.PositiveIntegerField(
        default=10,
        validators=[MaxValueValidator(HIGHEST_PRIORITY)],
        help_text="Servers that provide the same service are tried in increasing order of this number.",
    )
    all_organizations = models.BooleanField(
        default=True,
        help_text="Available to every terminal of the client; unticked, 'Organizations by server' decides.",
    )
    all_services = models.BooleanField(
        default=True, help_text="Provides every service; unticked, 'Services by server' decides."
    )
    defined_services = models.CharField(
        max_length=15,
        choices=DefinedServices.choices,
        default=DefinedServices.ALL_EXCLUDING,
        help_text="What the services listed in 'Services by server' mean.",
    )
    is_active = models.BooleanField("active", default=True)
    ping_url = models.CharField(
        "ping URL",
        max_length=255,
        blank=True,
        help_text="Called to see whether it lives, as long as no agent reports for it. Empty: the URL.",
    )
    probe_interval_s = models.PositiveIntegerField(
        "probe interval (s)",
        null=True,
        blank=True,
        validators=[MinValueValidator(SHORTEST_PROBE_INTERVAL_S), MaxValueValidator(DAY_S)],
        help_text="How often it is called. Empty: as the preference says.",
    )
    probe_timeout_s = models.PositiveSmallIntegerField(
        "probe timeout (s)",
        default=5,
        validators=[MinValueValidator(1), MaxValueValidator(LONGEST_PROBE_TIMEOUT_S)],
        help_text="An answer that takes longer counts as none.",
    )
    expected_status = models.PositiveSmallIntegerField(
        "expected HTTP status",
        default=200,
        validators=[MinValueValidator(100), MaxValueValidator(599)],
        help_text="Any other answer counts as a failure. Redirects are not followed.",
    )

    history = HistoricalRecords()

    class Meta:
        ordering: ClassVar[list[str]] = ["priority", "name", "key"]
        verbose_name = "mobile server"
        constraints: ClassVar[list[models.BaseConstraint]] = [
            UniqueOn(
                on="name",
                fields=["client", "name"],
                name="mobile_server_name_once_per_client",
                violation_error_message="Another server of this client has this name.",
            ),
            UniqueOn(
                Lower("key"),
                on="key",
                name="mobile_server_key_unique",
                violation_error_message="Another server has this key (upper and lower case count as the same).",
            ),
            models.CheckConstraint(condition=~Q(key=""), name="mobile_server_key_given"),
            models.CheckConstraint(condition=Q(server_type__in=ServerType.values), name="mobile_server_type_known"),
            models.CheckConstraint(
                condition=Q(defined_services__in=DefinedServices.values),
                name="mobile_server_defined_services_known",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        super().clean()
        for name in ("url", "ping_url"):
            if name == "url" or self.ping_url:
                try:
                    setattr(self, name, normal_url(getattr(self, name)))
                except ValueError as error:
                    raise ValidationError({name: ValidationError(str(error), "invalid_url")}) from error
        if self.client_id is not None and self.client.kind != OrganizationKind.CLIENT:
            raise ValidationError({"client": ValidationError(f"{self.client.code} is not a client.", "not_a_client")})


class OrganizationByServer(models.Model):
    """The tab "Organizations by server": the server serves this organization and all below it."""

    server = models.ForeignKey(MobileServer, on_delete=models.CASCADE, related_name="organizations_by_server")
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="servers_by_organization")
    is_active = models.BooleanField("active", default=True)

    history = HistoricalRecords()

    class Meta:
        ordering: ClassVar[list[str]] = ["pk"]
        verbose_name = "organization by server"
        verbose_name_plural = "organizations by server"
        constraints: ClassVar[list[models.BaseConstraint]] = [
            UniqueOn(
                on="organization",
                fields=["server", "organization"],
                name="organization_once_per_server",
                violation_error_message="This organization is already listed for this server.",
            )
        ]

    def __str__(self) -> str:
        return f"{self.server} serves {self.organization}"

    def clean(self) -> None:
        super().clean()
        # Roots have the client's own tree: comparing trees needs no walk and no query per ancestor.
        if (
            self.organization_id is not None
            and self.server.client_id is not None
            and self.organization.tree_id != self.server.client.tree_id
        ):
            raise ValidationError(
                {
                    "organization": ValidationError(
                        f"{self.organization.code} does not belong to the client {self.server.client.code}.",
                        "other_client",
                    )
                }
            )


class ServiceByServer(models.Model):
    """The tab "Services by server": covers this service and those below it."""

    server = models.ForeignKey(MobileServer, on_delete=models.CASCADE, related_name="services_by_server")
    service = models.ForeignKey(MobileService, on_delete=models.PROTECT, related_name="servers_by_service")
    is_active = models.BooleanField("active", default=True)

    history = HistoricalRecords()

    class Meta:
        ordering: ClassVar[list[str]] = ["pk"]
        verbose_name = "service by server"
        verbose_name_plural = "services by server"
        constraints: ClassVar[list[models.BaseConstraint]] = [
            UniqueOn(
                on="service",
                fields=["server", "service"],
                name="service_once_per_server",
                violation_error_message="This service is already listed for this server.",
            )
        ]

    def __str__(self) -> str:
        return f"{self.server}: {self.service}"


class ServerState(models.Model):
    """A server's state: one row per server that was ever observed, written only when the state changes.

    Each write tells every process to read the states again, so what is heard of a server all the time
    is kept apart, in its report. A server without a row has never proved itself: it is offline since
    unknown. Written by `fleet.states` alone.
    """

    server = models.OneToOneField(MobileServer, on_delete=models.CASCADE, primary_key=True, related_name="state")
    status = models.CharField(max_length=25, choices=ServerStatus.choices, default=ServerStatus.OFFLINE)
    since = models.DateTimeField(null=True, blank=True)
    cause = models.CharField(max_length=255, blank=True, help_text="Why it is in this state.")
    proved_at = models.DateTimeField(null=True, blank=True, help_text="When it was first online.")
    is_flapping = models.BooleanField("flapping", default=False)
    has_order = models.BooleanField(
        default=False, help_text="A roll-out's order is out for it: its agent is changing its software, or about to."
    )

    def __str__(self) -> str:
        return f"{self.server}: {self.get_status_display()}"


class ServerReport(models.Model):
    """What was last heard of a server, by its agent or by probing: one row per server ever called or heard.

    Apart from definition and state, so that a heartbeat moves no revision and writes no history. The
    first half is the evidence of `servers.status.Standing`.
    """

    server = models.OneToOneField(MobileServer, on_delete=models.CASCADE, primary_key=True, related_name="report")
    ready_at = models.DateTimeField(null=True)
    unready_at = models.DateTimeField(null=True)
    unready_cause = models.CharField(max_length=255, blank=True)
    failed_at = models.DateTimeField(null=True)
    failure_cause = models.CharField(max_length=255, blank=True)
    bad_since = models.DateTimeField(null=True)
    successes = models.PositiveIntegerField(default=0)
    failures = models.PositiveIntegerField(default=0)
    attempted_at = models.DateTimeField(null=True)

    last_seen_at = models.DateTimeField(null=True, help_text="When it last answered a probe or reported.")
    reported_at = models.DateTimeField(null=True, help_text="When its agent last reported.")
    software_version = models.CharField(max_length=60, blank=True)
    modules = models.JSONField(default=list, help_text="List of {name, version}.")
    pending = models.PositiveIntegerField(null=True, help_text="Transactions that wait to be processed.")
    host_name = models.CharField(max_length=255, blank=True)
    os = models.CharField("operating system", max_length=120, blank=True)
    address = models.CharField(max_length=45, blank=True, help_text="Where the report came from.")
    clock_offset_s = models.IntegerField(null=True, help_text="By how much the host's clock is ahead of ours.")

    probed_at = models.DateTimeField(null=True, help_text="When it was last called.")
    next_probe_at = models.DateTimeField(null=True, db_index=True)
    probe_took_ms = models.PositiveIntegerField(null=True)

    def __str__(self) -> str:
        return f"{self.server_id} seen {self.last_seen_at}"


class StatusTransition(models.Model):
    """One change of a server's state; rows are only added, and pruned by age.

    Outlives the server: `server_key` says whose it was.
    """

    server = models.ForeignKey(MobileServer, null=True, on_delete=models.SET_NULL, related_name="transitions")
    server_key = models.CharField(max_length=KEY_LENGTH)
    from_status = models.CharField(max_length=25, choices=ServerStatus.choices)
    to_status = models.CharField(max_length=25, choices=ServerStatus.choices)
    at = models.DateTimeField(db_index=True)
    cause = models.CharField(max_length=255)
    observer = models.CharField(max_length=60, help_text="Who saw it: the agent, a probe, or the watcher.")

    class Meta:
        ordering: ClassVar[list[str]] = ["-at", "-pk"]
        indexes: ClassVar[list[models.Index]] = [models.Index(fields=["server", "-at"])]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(condition=~Q(cause=""), name="status_transition_has_a_cause")
        ]

    def __str__(self) -> str:
        return f"{self.server_key} {self.from_status} → {self.to_status}"


class TransitionCount(models.Model):
    """How many changes to a state there ever were before `until`; history is pruned, this is not.

    Later changes are still in the history to be counted there. See `servers.history`.
    """

    to_status = models.CharField(max_length=25, choices=ServerStatus.choices, primary_key=True)
    number = models.BigIntegerField(default=0)
    until = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.number} to {self.to_status} until {self.until:%Y-%m-%d %H:%M}"


class AgentToken(RollingToken):
    """The token of the Booster Agent beside a server."""

    KIND = "agent"
    OWNER = "server"

    server = models.ForeignKey(MobileServer, on_delete=models.CASCADE, related_name="agent_tokens")
