"""Whether the columns derived from `parent` are right, and laying them out anew.

Routing never reads them; lists, subtree filters and rights do.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from organizations.models import PATH_SEPARATOR, Organization
from organizations.tree import PARENT_KINDS, tree_write

DERIVED = ("tree_id", "level", "lft", "rght", "path")
BATCH_SIZE = 500


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one organization; one that is not fixable needs another parent by hand."""

    code: str
    message: str
    is_fixable: bool = True

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


def find_faults() -> list[Fault]:
    """Return everything that is wrong with the tree, read in one query."""
    return _examine(list(Organization.objects.order_by("pk")))[0]


def fix() -> list[Fault]:
    """Lay out the derived columns anew, keeping the order of siblings; return the faults that remain."""
    with tree_write():
        faults, misplaced = _examine(list(Organization.objects.order_by("pk")))
        Organization.objects.bulk_update(misplaced, DERIVED, batch_size=BATCH_SIZE)
    return [fault for fault in faults if not fault.is_fixable]


def _examine(organizations: list[Organization]) -> tuple[list[Fault], list[Organization]]:
    """Return the faults, and the organizations whose derived columns were put right in memory."""
    children: defaultdict[int | None, list[Organization]] = defaultdict(list)
    for organization in sorted(organizations, key=lambda row: (row.tree_id, row.lft, row.pk)):
        children[organization.parent_id].append(organization)
    by_pk = {organization.pk: organization for organization in organizations}
    faults: list[Fault] = []
    misplaced: list[Organization] = []
    reached: set[int] = set()
    used: set[int] = set()
    for root in children[None]:
        tree_id = (
            root.tree_id if root.tree_id not in used else max([*used, *(row.tree_id for row in children[None])]) + 1
        )
        used.add(tree_id)
        for pk, place in _layout(root, tree_id, children).items():
            reached.add(pk)
            row = by_pk[pk]
            wrong = [name for name in DERIVED if getattr(row, name) != place[name]]
            if wrong:
                faults.append(Fault(row.code, f"{', '.join(wrong)} wrong"))
                for name in wrong:
                    setattr(row, name, place[name])
                misplaced.append(row)
    for row in organizations:
        parent = by_pk.get(row.parent_id) if row.parent_id else None
        if row.pk not in reached:
            faults.append(Fault(row.code, "does not hang from a client: its parents run in a circle", is_fixable=False))
        elif parent is not None and parent.kind not in PARENT_KINDS[row.kind]:
            faults.append(
                Fault(row.code, f"a {row.kind} cannot lie below the {parent.kind} {parent.code}", is_fixable=False)
            )
    return faults, misplaced


def _layout(
    root: Organization, tree_id: int, children: dict[int | None, list[Organization]]
) -> dict[int, dict[str, int | str]]:
    """Return where each organization of a tree belongs, by primary key; iterative, as trees may be deep."""
    places: dict[int, dict[str, int | str]] = {}
    counter = 0
    pending: list[tuple[Organization, int, str, bool]] = [(root, 0, root.name, False)]
    while pending:
        organization, level, path, is_done = pending.pop()
        counter += 1
        if is_done:
            places[organization.pk]["rght"] = counter
            continue
        places[organization.pk] = {"tree_id": tree_id, "level": level, "lft": counter, "path": path}
        pending.append((organization, level, path, True))
        pending.extend(
            (child, level + 1, f"{path}{PATH_SEPARATOR}{child.name}", False)
            for child in reversed(children[organization.pk])
        )
    return places
