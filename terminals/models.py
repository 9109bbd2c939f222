"""POS terminals, their activation codes, tokens and last reports."""

from __future__ import annotations

from typing import Any, ClassVar

from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models
from simple_history.models import HistoricalRecords

from backoffice.credentials import DIGEST_LENGTH
from backoffice.rolling_tokens import RollingToken
from licensing.installation import refuse_unless_allowed
from licensing.rules import Action
from organizations.models import Organization, OrganizationKind
from terminals.writing import terminal_write

SEARCH_KEY_VALIDATOR = RegexValidator(
    r"^\w[\w.\-]*\Z",
    "Use letters, digits, '_', '-' and '.', starting with a letter, digit or '_'.",
    "invalid_search_key",
)


class Terminal(models.Model):
    """A POS terminal of a store."""

    search_key = models.CharField(max_length=40, unique=True, validators=[SEARCH_KEY_VALIDATOR])
    name = models.CharField(max_length=60)
    organization = models.ForeignKey(
        Organization,
        verbose_name="store",
        on_delete=models.PROTECT,
        related_name="terminals",
        limit_choices_to={"kind": OrganizationKind.STORE},
    )
    is_active = models.BooleanField("active", default=True, help_text="An inactive terminal gets no configuration.")
    activated_at = models.DateTimeField(null=True, blank=True, editable=False)

    history = HistoricalRecords()

    class Meta:
        ordering: ClassVar[list[str]] = ["search_key"]
        verbose_name = "POS terminal"

    def __str__(self) -> str:
        return self.search_key

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Ask before a terminal is added, whichever door it comes by; raises LicenseLimit."""
        with terminal_write():
            if self._state.adding:
                refuse_unless_allowed(Action.ADD_TERMINAL)
            super().save(*args, **kwargs)

    def clean(self) -> None:
        super().clean()
        if self.organization_id is not None and self.organization.kind != OrganizationKind.STORE:
            raise ValidationError(
                {"organization": ValidationError(f"{self.organization.code} is not a store.", "not_a_store")}
            )


class TerminalToken(RollingToken):
    """A terminal's token."""

    KIND = "terminal"
    OWNER = "terminal"

    terminal = models.ForeignKey(Terminal, on_delete=models.CASCADE, related_name="tokens")


class ActivationCode(models.Model):
    """A one-time code that a terminal trades for its token; stored as a keyed digest."""

    terminal = models.ForeignKey(Terminal, on_delete=models.CASCADE, related_name="activation_codes")
    digest = models.CharField(max_length=DIGEST_LENGTH)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)
    voided_at = models.DateTimeField(null=True)

    class Meta:
        ordering: ClassVar[list[str]] = ["-created_at", "-pk"]

    def __str__(self) -> str:
        return f"code for {self.terminal_id} until {self.expires_at:%Y-%m-%d %H:%M}"


class FailedActivation(models.Model):
    """A wrong activation code: what the limits per terminal and per address count."""

    at = models.DateTimeField(db_index=True)
    terminal_key = models.CharField(max_length=40, db_index=True)
    address = models.CharField(max_length=45, db_index=True)

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M:%S} {self.terminal_key} from {self.address}"


class TerminalReport(models.Model):
    """What a terminal last told by polling: apart from its definition, so that polls write no history."""

    terminal = models.OneToOneField(Terminal, on_delete=models.CASCADE, primary_key=True, related_name="report")
    last_seen_at = models.DateTimeField(null=True)
    software = models.CharField(max_length=60, blank=True)
    revision = models.BigIntegerField(null=True, help_text="Configuration revision it holds.")
    reported_at = models.DateTimeField(null=True, help_text="When it last sent a report of its own.")
    queue_length = models.PositiveIntegerField(null=True, help_text="Transactions it has not delivered yet.")

    def __str__(self) -> str:
        return f"{self.terminal_id} seen {self.last_seen_at}"
