"""Mobile servers, the organizations they serve and the services they provide."""

from __future__ import annotations

from typing import ClassVar

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, RegexValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower
from simple_history.models import HistoricalRecords

from backoffice.constraints import UniqueOn
from organizations.models import Organization, OrganizationKind
from servers.address import normal_url
from services.models import MobileService

KEY_LENGTH = 32
HIGHEST_PRIORITY = 999_999
KEY_VALIDATOR = RegexValidator(r"^[A-Za-z0-9_-]+\Z", "Use letters, digits, '_' and '-'.", "invalid_key")


class ServerType(models.TextChoices):
    MAIN = "main", "Main server"
    STORE = "store", "Store server"


class DefinedServices(models.TextChoices):
    ONLY = "only", "Only those defined"
    ALL_EXCLUDING = "all_excluding", "All excluding defined"


class ServerStatus(models.TextChoices):
    ONLINE = "online", "Online"
    TRANSITION_TO_OFFLINE = "transition_to_offline", "Transition to offline"
    OFFLINE = "offline", "Offline"
    TRANSITION_TO_ONLINE = "transition_to_online", "Transition to online"


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
        try:
            self.url = normal_url(self.url)
        except ValueError as error:
            raise ValidationError({"url": ValidationError(str(error), "invalid_url")}) from error
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
    """What is known of a server's state: one row per server that was ever observed.

    Apart from the definition, so that an observation neither moves the configuration's revision nor
    writes history. A server without a row has never proved itself: it is offline since unknown.
    """

    server = models.OneToOneField(MobileServer, on_delete=models.CASCADE, primary_key=True, related_name="state")
    status = models.CharField(max_length=25, choices=ServerStatus.choices, default=ServerStatus.OFFLINE)
    since = models.DateTimeField(null=True, blank=True)
    offline_cause = models.CharField(max_length=255, blank=True)
    last_seen_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"{self.server}: {self.get_status_display()}"
