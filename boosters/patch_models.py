"""Patches, the roll-outs that bring them to servers, and the versions that servers report."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q

from boosters import rollout
from servers.models import KEY_LENGTH, MobileServer

VERSION_LENGTH = 60
DETAIL_LENGTH = 500


class Patch(models.Model):
    """A patch whose container was checked and is kept: what the vendor signed, and size and digest of the file."""

    product = models.CharField(max_length=200)
    name = models.CharField(max_length=200)
    version = models.CharField(max_length=VERSION_LENGTH, help_text="The version a server has with it.")
    fits_from = models.CharField(max_length=VERSION_LENGTH, help_text="The lowest installed version it fits.")
    fits_to = models.CharField(max_length=VERSION_LENGTH, help_text="The highest installed version it fits.")
    size_bytes = models.BigIntegerField()
    sha256 = models.CharField("SHA-256", max_length=64, unique=True)
    apply = models.CharField(max_length=200)
    revert = models.CharField(max_length=200, blank=True, help_text="Script that takes it back; empty if it cannot.")
    notes = models.TextField(blank=True)
    key_id = models.CharField("vendor's key", max_length=40)
    uploaded_at = models.DateTimeField()
    uploaded_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    uploaded_from = models.ForeignKey(
        MobileServer, null=True, blank=True, on_delete=models.SET_NULL, related_name="+", verbose_name="from the server"
    )

    class Meta:
        ordering: ClassVar[list[str]] = ["-uploaded_at", "-pk"]
        verbose_name_plural = "patches"

    def __str__(self) -> str:
        return f"{self.product} {self.version}"


class PatchPart(models.Model):
    """A piece of a patch's file, so that every node that reaches the database has the file too."""

    patch = models.ForeignKey(Patch, on_delete=models.CASCADE, related_name="parts")
    number = models.PositiveIntegerField()
    content = models.BinaryField()

    class Meta:
        ordering: ClassVar[list[str]] = ["number"]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["patch", "number"], name="patch_part_once")
        ]

    def __str__(self) -> str:
        return f"{self.patch_id}, part {self.number}"


class RollOutState(models.TextChoices):
    PLANNED = rollout.RollOutState.PLANNED.value, "Planned"
    RUNNING = rollout.RollOutState.RUNNING.value, "Running"
    PAUSED = rollout.RollOutState.PAUSED.value, "Paused"
    DONE = rollout.RollOutState.DONE.value, "Done"
    CANCELLED = rollout.RollOutState.CANCELLED.value, "Cancelled"


class TargetState(models.TextChoices):
    WAITING = rollout.TargetState.WAITING.value, "Waiting"
    DOWNLOADING = rollout.TargetState.DOWNLOADING.value, "Downloading"
    BACKING_UP = rollout.TargetState.BACKING_UP.value, "Backing up"
    APPLYING = rollout.TargetState.APPLYING.value, "Applying"
    RESTARTING = rollout.TargetState.RESTARTING.value, "Restarting"
    DONE = rollout.TargetState.DONE.value, "Done"
    FAILED = rollout.TargetState.FAILED.value, "Failed"
    NOT_APPLICABLE = rollout.TargetState.NOT_APPLICABLE.value, "Not applicable"
    SKIPPED = rollout.TargetState.SKIPPED.value, "Skipped"


class Step(models.TextChoices):
    APPLY = rollout.Step.APPLY.value, "Apply"
    ROLL_BACK = rollout.Step.ROLL_BACK.value, "Roll back"


class RollOut(models.Model):
    """One patch on its way to servers, or back. `cause` says why it is paused, `began_because` who or what began it."""

    patch = models.ForeignKey(Patch, on_delete=models.PROTECT, related_name="roll_outs")
    step = models.CharField(max_length=10, choices=Step.choices, default=Step.APPLY)
    state = models.CharField(max_length=10, choices=RollOutState.choices, default=RollOutState.PLANNED)
    cause = models.CharField(max_length=DETAIL_LENGTH, blank=True)
    began_because = models.CharField(max_length=255, blank=True)
    waves = models.JSONField(default=list, help_text="The titles of the waves, first to last.")
    only_in_maintenance = models.BooleanField(
        default=False, help_text="A server begins only while maintenance is planned for it."
    )
    bytes_per_s = models.PositiveIntegerField(null=True, blank=True, help_text="For each server; empty: no limit.")
    begins_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField()
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    ended_at = models.DateTimeField(null=True, blank=True)
    takes_back = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.SET_NULL, related_name="taken_back_by"
    )

    class Meta:
        ordering: ClassVar[list[str]] = ["-created_at", "-pk"]
        verbose_name = "roll-out"

    def __str__(self) -> str:
        return f"{'Roll back ' if self.step == Step.ROLL_BACK else ''}{self.patch}"


class RollOutTarget(models.Model):
    """One server of a roll-out; its id is the number of the order its agent gets.

    A server that is tried again gets a new row, so that no agent takes the new order for the old one.
    """

    roll_out = models.ForeignKey(RollOut, on_delete=models.CASCADE, related_name="targets")
    server = models.ForeignKey(MobileServer, null=True, on_delete=models.SET_NULL, related_name="roll_out_targets")
    server_key = models.CharField(max_length=KEY_LENGTH)
    wave = models.PositiveSmallIntegerField(default=1)
    is_main = models.BooleanField(default=False)
    priority = models.PositiveIntegerField(default=10)
    state = models.CharField(max_length=15, choices=TargetState.choices, default=TargetState.WAITING)
    since = models.DateTimeField(null=True)
    ordered_at = models.DateTimeField(null=True)
    term = models.BigIntegerField(null=True, help_text="The term of the node that ordered it.")
    heard_at = models.DateTimeField(null=True)
    detail = models.CharField(max_length=DETAIL_LENGTH, blank=True)
    waits_for = models.CharField(max_length=DETAIL_LENGTH, blank=True)
    received_bytes = models.BigIntegerField(default=0)
    version_before = models.CharField(max_length=VERSION_LENGTH, blank=True)
    wanted = models.CharField(max_length=VERSION_LENGTH, blank=True)

    class Meta:
        ordering: ClassVar[list[str]] = ["wave", "is_main", "-priority", "server_key"]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["roll_out", "server"], name="target_once_per_roll_out"),
            models.UniqueConstraint(
                fields=["server"],
                condition=Q(ordered_at__isnull=False) & ~Q(state__in=["done", "failed", "not_applicable", "skipped"]),
                name="target_one_order_per_server",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.server_key}: {self.get_state_display()}"


class ReportedVersion(models.Model):
    """The version a server reported last, and how it came by it: by a roll-out or in another way (OMF-34)."""

    server = models.OneToOneField(
        MobileServer, on_delete=models.CASCADE, primary_key=True, related_name="reported_version"
    )
    version = models.CharField(max_length=VERSION_LENGTH, blank=True)
    previous = models.CharField(max_length=VERSION_LENGTH, blank=True)
    since = models.DateTimeField()
    is_propagated = models.BooleanField(default=False)

    def __str__(self) -> str:
        return f"{self.server_id}: {self.version}"
