"""The organization tree: clients, the regions below them, and their stores."""

from __future__ import annotations

from typing import ClassVar, Self

from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q
from mptt.managers import TreeManager
from mptt.models import MPTTModel, TreeForeignKey
from mptt.querysets import TreeQuerySet
from simple_history.models import HistoricalRecords

CODE_VALIDATOR = RegexValidator(
    r"^\w[\w.\-]*\Z",
    "Use letters, digits, '_', '-' and '.', starting with a letter, digit or '_'.",
    "invalid_code",
)
PATH_SEPARATOR = " / "


class OrganizationKind(models.TextChoices):
    CLIENT = "client", "Client"
    REGION = "region", "Region"
    STORE = "store", "Store"


class OrganizationQuerySet(TreeQuerySet):
    def _narrowed(self, condition: Q) -> Self:
        narrowed: Self = self.filter(condition)
        return narrowed

    def stores(self) -> Self:
        return self._narrowed(Q(kind=OrganizationKind.STORE))

    def clients(self) -> Self:
        return self._narrowed(Q(kind=OrganizationKind.CLIENT))

    def active(self) -> Self:
        return self._narrowed(Q(is_active=True))

    def below(self, organizations: models.QuerySet[Organization]) -> Self:
        """Return the given organizations and everything below them, in one query more than them."""
        condition = Q(pk__in=[])
        for tree_id, left, right in organizations.values_list("tree_id", "lft", "rght"):
            condition |= Q(tree_id=tree_id, lft__gte=left, rght__lte=right)
        return self._narrowed(condition)


OrganizationManager = TreeManager.from_queryset(OrganizationQuerySet)


class Organization(MPTTModel):
    """A client (tenant), a region or a store.

    Every write goes through `organizations/tree.py`: it keeps `lft`, `rght` and `path` right while
    others write. Routing walks `parent` only and never trusts the other three.
    """

    code = models.CharField(
        max_length=40, unique=True, validators=[CODE_VALIDATOR], help_text="Search key, unique everywhere."
    )
    name = models.CharField(max_length=60)
    kind = models.CharField(max_length=10, choices=OrganizationKind.choices)
    parent = TreeForeignKey("self", null=True, blank=True, on_delete=models.PROTECT, related_name="children")
    is_active = models.BooleanField(
        "active",
        default=True,
        help_text="Rows that name an inactive organization count for nothing; what lies below it is not cut off.",
    )
    path = models.TextField(editable=False, help_text="Names from the client down, for people to read and search.")

    objects = OrganizationManager()
    history = HistoricalRecords(excluded_fields=["lft", "rght", "tree_id", "level", "path"])

    class Meta:
        verbose_name = "organization"
        ordering: ClassVar[list[str]] = ["tree_id", "lft"]
        indexes = ()  # or makemigrations overlooks the tree's own index
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(
                condition=Q(kind="client", parent__isnull=True) | (~Q(kind="client") & Q(parent__isnull=False)),
                name="organization_root_is_client",
                violation_error_message="A client has no parent; a region or store needs one.",
            ),
            models.CheckConstraint(condition=Q(kind__in=OrganizationKind.values), name="organization_kind_known"),
        ]

    class MPTTMeta:
        order_insertion_by: ClassVar[list[str]] = []

    def __str__(self) -> str:
        return self.path or self.name

    def lineage(self) -> models.QuerySet[Organization]:
        """Return this organization and its ancestors, from the client down.

        Asks by primary key: the `lft` and `rght` of an instance in memory go stale as soon as a
        sibling is inserted, and would then name a neighbour as ancestor.
        """
        return Organization.objects.filter(pk=self.pk).get_ancestors(include_self=True)  # type: ignore[no-any-return]

    def subtree(self) -> models.QuerySet[Organization]:
        """Return this organization and its descendants, asked by primary key like `lineage`."""
        return Organization.objects.filter(pk=self.pk).get_descendants(include_self=True)  # type: ignore[no-any-return]
