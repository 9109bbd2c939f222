"""The revision numbers that tell every process when to read again."""

from typing import ClassVar

from django.db import models


class Revision(models.Model):
    """How often the tables of one scope changed; moved by triggers in the database itself."""

    scope = models.CharField(max_length=20, primary_key=True)
    number = models.BigIntegerField(default=0)

    class Meta:
        ordering: ClassVar[list[str]] = ["scope"]

    def __str__(self) -> str:
        return f"{self.scope} {self.number}"
