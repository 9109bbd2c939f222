from contextlib import AbstractContextManager

from backoffice.api.filters import ChoiceFilter, FlagFilter, TextFilter, TreeFilter
from backoffice.api.views import Collection
from organizations.api.serializers import OrganizationSerializer
from organizations.models import Organization, OrganizationKind
from organizations.tree import delete_organization, tree_write


class OrganizationCollection(Collection):
    """The tree of clients, regions and stores.

    A root is a client; regions lie in clients and regions; stores lie below either; nothing lies below
    a store. Problems: 400 for a parent that cannot hold the kind; 409 for a move below an own descendant,
    or to another client while servers are assigned, and for deleting what is in use.
    """

    queryset = Organization.objects.select_related("parent")
    serializer_class = OrganizationSerializer
    filters = (
        TextFilter("code", "code", "Exactly this code."),
        TextFilter("name", "name", "Exactly this name."),
        ChoiceFilter("kind", OrganizationKind.values, "Of this kind."),
        TextFilter("parent", "parent__code", "Directly below the organization with this code."),
        FlagFilter("is_active", "Active or not."),
        TreeFilter("pk", "Around the organization with this code, see scope."),
    )

    def lock(self) -> AbstractContextManager[None]:
        return tree_write()

    def delete_object(self, instance: Organization) -> None:
        delete_organization(instance.pk)
