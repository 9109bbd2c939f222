"""The installation, its trial and its licences: one row."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q

THE_ONE = 1


class Installation(models.Model):
    """What both nodes of an installation share; made again from other facts if the row is lost.

    The two licences are the texts of the files, so that what is in force is always what the vendor
    signed; they are checked each time they are read.
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=THE_ONE)
    installation_id = models.UUIDField()
    trial_started_at = models.DateTimeField()
    highest_moment = models.DateTimeField(help_text="The latest moment any node has seen.")
    license = models.TextField(blank=True)
    next_license = models.TextField(blank=True, help_text="Accepted before its time: becomes active by itself.")

    class Meta:
        default_permissions = ()
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(condition=Q(id=THE_ONE), name="only_one_installation")
        ]

    def __str__(self) -> str:
        return str(self.installation_id)
