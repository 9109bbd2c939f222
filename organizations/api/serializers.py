from typing import Any

from backoffice.api.serializers import OrganizationField, RefField, StrictModelSerializer
from backoffice.refusals import FieldError, Forbidden, Invalid
from organizations.models import Organization
from organizations.tree import create_organization, move_organization, update_organization


class OrganizationSerializer(StrictModelSerializer):
    parent = OrganizationField(  # type: ignore[assignment]
        allow_null=True, required=False, help_text="Code or id; null for a client."
    )
    parent_ref = RefField("organizations", "code", source="parent", allow_null=True)

    class Meta:
        model = Organization
        fields = ("id", "code", "name", "kind", "parent", "parent_ref", "is_active")

    def create(self, validated_data: dict[str, Any]) -> Organization:
        parent = validated_data.pop("parent", None)
        if parent is None and self.is_caller_limited:
            raise Forbidden("Only whoever administers the whole tree adds clients.")
        return create_organization(parent_id=parent.pk if parent else None, **validated_data)

    def update(self, instance: Organization, validated_data: dict[str, Any]) -> Organization:
        """Change through the tree's rules: `kind` never, the place by a move.

        Whoever is limited to a part of the tree keeps its shape and codes: they may rename,
        activate and deactivate.
        """
        changed = {name for name, value in validated_data.items() if getattr(instance, name) != value}
        if "kind" in changed:
            message = "An organization keeps its kind."
            raise Invalid(message, errors=[FieldError("/kind", "fixed", message)])
        if changed & {"code", "parent"} and self.is_caller_limited:
            raise Forbidden("Only whoever administers the whole tree changes codes and parents.")
        if changed - {"parent"}:
            instance = update_organization(instance.pk, **{name: validated_data[name] for name in changed - {"parent"}})
        if "parent" in changed:
            parent = validated_data["parent"]
            instance = move_organization(instance.pk, parent.pk if parent else None)
        return instance
