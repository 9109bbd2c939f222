"""The effective value of every preference for an organization, and where it comes from."""

from __future__ import annotations

from organizations.models import Organization
from preferences.models import PreferenceValue
from preferences.registry import DEFINITIONS, Definition, Scope


def effective_values(organization: Organization | None) -> list[PreferenceValue]:
    """Return one value per preference, in the registry's order; None asks for the whole system.

    The nearest active organization from `organization` up that sets a preference decides, then the
    system, then the default: a default is a value without primary key. Where a value that is out of
    bounds decides, the default holds (N11). Two queries, whatever the depth of the tree.
    """
    lineage = [*reversed(organization.lineage())] if organization else []
    values = PreferenceValue.objects.select_related("organization").filter(organization=None)
    values |= PreferenceValue.objects.select_related("organization").filter(organization__in=lineage)
    present = {(value.key, value.organization_id): value for value in values}
    nearest_first = [ancestor.pk for ancestor in lineage if ancestor.is_active]
    return [_effective(definition, present, nearest_first) for definition in DEFINITIONS]


def _effective(
    definition: Definition, present: dict[tuple[str, int | None], PreferenceValue], nearest_first: list[int]
) -> PreferenceValue:
    places: list[int | None] = [*nearest_first] if definition.scope is Scope.ORGANIZATION else []
    value = next((value for place in [*places, None] if (value := present.get((definition.key, place)))), None)
    if value is not None and definition.is_valid(value.value):
        return value
    return PreferenceValue(key=definition.key, value=definition.spell(definition.default))
