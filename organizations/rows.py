"""Organizations as rows of a CSV file: parents stand above what lies below them."""

from typing import Any, ClassVar

from django.core.exceptions import ValidationError

from backoffice.csv_rows import Flag, Named, Rows, column
from backoffice.visibility import is_limited
from organizations.models import Organization
from organizations.tree import create_organization, move_organization, update_organization


class OrganizationRows(Rows):
    code = column("code")
    name = column("name")
    kind = column("kind")
    parent = column("parent", Named(Organization, "code"))
    is_active = column("is_active", Flag())

    class Meta(Rows.Meta):
        model = Organization
        fields: ClassVar[list[str]] = ["code", "name", "kind", "parent", "is_active"]
        import_id_fields: ClassVar[list[str]] = ["code"]

    def filter_export(self, queryset: Any, **kwargs: Any) -> Any:
        return queryset.select_related("parent")

    def write(self, instance: Organization, is_create: bool, row: Any) -> None:
        if is_create and instance.parent_id is None and is_limited(self.user):
            raise ValidationError("Only whoever administers the whole tree adds clients.")
        if is_create:
            made = create_organization(
                code=instance.code,
                name=instance.name,
                kind=instance.kind,
                parent_id=instance.parent_id,
                is_active=instance.is_active,
            )
            instance.pk, instance.path = made.pk, made.path
            return
        before = Organization.objects.get(pk=instance.pk)
        if instance.kind != before.kind:
            raise ValidationError(f"{instance.code} is a {before.kind}; the kind cannot be changed.")
        if instance.parent_id != before.parent_id:
            if is_limited(self.user):
                raise ValidationError("Only whoever administers the whole tree changes parents.")
            move_organization(instance.pk, instance.parent_id)
        update_organization(instance.pk, name=instance.name, is_active=instance.is_active)
