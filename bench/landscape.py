"""Loading, compiling and checking a landscape at two sizes."""

from __future__ import annotations

from bench.configurations import refill
from bench.load import median_ms
from routing.checks import checks
from routing.document import Document, canonical_json, configuration
from routing.load import load_landscape

SIZES = {100: (10, 20), 10_000: (1_000, 200)}
"""Servers and services by number of organizations."""


def measure() -> dict[str, dict[str, float]]:
    """Return milliseconds by number of organizations and by what was measured."""
    measured = {size: _measure_one(size) for size in SIZES}
    small, large = SIZES
    print(f"{'milliseconds, by organizations':36}{small:>12,}{large:>12,}   ratio")
    for what, milliseconds in measured[large].items():
        base = measured[small][what]
        print(f"{what:36}{base:>9.2f} ms{milliseconds:>9.2f} ms{milliseconds / base:>8.1f}")
    return {str(size): values for size, values in measured.items()}


def _measure_one(organizations: int) -> dict[str, float]:
    refill(organizations, *SIZES[organizations])
    landscape = load_landscape()
    stores = [code for code, organization in landscape.organizations.items() if organization.kind == "store"]

    def compile_one() -> None:
        Document.of(canonical_json(configuration(landscape, stores[len(stores) // 2], ())))

    first = median_ms(compile_one, 1)
    return {
        "load the landscape": median_ms(load_landscape),
        "compile a store's first document": first,
        "compile a store's next document": median_ms(compile_one, 50),
        "check every store": median_ms(lambda: checks(landscape, stores), 3),
    }
