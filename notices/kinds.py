"""The kinds of notice that there are; each room registers its own when the product starts."""

from __future__ import annotations

TEST = "test"
LICENSE_ENDS = "license-ends-soon"

_labels: dict[str, str] = {}


def register(kind: str, label: str) -> None:
    """Make notices of `kind` known; `label` is what people choose from."""
    _labels[kind] = label


def label_of(kind: str) -> str:
    """Return what people read for `kind`; a kind that is no longer registered is told as it is stored."""
    return _labels.get(kind, kind)


def is_known(kind: str) -> bool:
    return kind in _labels


def choices() -> list[tuple[str, str]]:
    """Return kind and label of all kinds that a channel can be limited to, by label."""
    chosen = ((kind, label) for kind, label in _labels.items() if kind != TEST)
    return sorted(chosen, key=lambda choice: choice[1])
