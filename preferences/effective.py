"""The effective value of every preference for an organization, and where it comes from."""

from __future__ import annotations

from organizations.models import Organization
from preferences.models import PreferenceValue
from preferences.registry import DEFINITIONS, Origin


def effective_values(organization: Organization | None) -> list[PreferenceValue]:
    """Return one value per preference, in the registry's order; None asks for the whole system.

    A default is a value without primary key. Two queries, whatever the depth of the tree.
    """
    lineage = [*reversed(organization.lineage())] if organization else []
    values = PreferenceValue.objects.select_related("organization").filter(organization=None)
    values |= PreferenceValue.objects.select_related("organization").filter(organization__in=lineage)
    present = {(value.key, value.organization_id): value for value in values}
    texts = {place: value.value for place, value in present.items()}
    active: list[int] = [ancestor.pk for ancestor in lineage if ancestor.is_active]
    found = []
    for definition in DEFINITIONS:
        decided = definition.decide(texts, active)
        value, origin = decided
        if origin is Origin.DEFAULT:
            found.append(PreferenceValue(key=definition.key, value=definition.spell(value)))
        else:
            found.append(present[definition.key, None if origin is Origin.SYSTEM else origin])
    return found
