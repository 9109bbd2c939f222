"""One log of everything that happened: who or what did what to which object, and why."""

from typing import ClassVar

from django.conf import settings
from django.db import models


class Event(models.Model):
    """One thing that happened; rows are only ever added, and pruned by age."""

    at = models.DateTimeField(db_index=True)
    kind = models.CharField(max_length=60, db_index=True, help_text="For example terminal-activated.")
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    actor_name = models.CharField(max_length=150, blank=True, help_text="User, terminal or program that did it.")
    request_id = models.CharField(max_length=64, blank=True)
    object_type = models.CharField(max_length=60, blank=True)
    object_key = models.CharField(max_length=255, blank=True, help_text="Natural key of the object.")
    cause = models.CharField(max_length=255, blank=True)
    data = models.JSONField(default=dict, blank=True)

    class Meta:
        ordering: ClassVar[list[str]] = ["-at", "-pk"]
        indexes: ClassVar[list[models.Index]] = [models.Index(fields=["object_type", "object_key", "-at"])]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M:%S} {self.kind} {self.object_key}".rstrip()
