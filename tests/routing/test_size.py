"""What a chain a hundred times larger costs: nothing more per document, and no more per row to prepare."""

import pytest

from routing import document
from routing.landscape import Service
from tests.effort import calls_of
from tests.routing.makers import make_landscape, make_server

SMALL, LARGE = 100, 10_000


def make_chain(size):
    """Make a chain of `size` organizations, a tenth as many servers, and 200 services."""
    regions = [f"R{number}" for number in range(size // 50)]
    stores = {f"S{number}": regions[number % len(regions)] for number in range(size - len(regions) - 1)}
    names = [f"org.example.area{number % 20}.Service{number}" for number in range(200)]
    servers = [
        make_server(f"box{number}", priority=5, organizations={f"S{number}"}, services=set(names[:9]))
        for number in range(size // 10)
    ]
    return make_landscape(
        organizations={"ACME": None, **dict.fromkeys(regions, "ACME"), **stores},
        servers=[make_server("main", priority=10), *servers],
        services=[Service(name) for name in names],
    )


@pytest.fixture(scope="module")
def chains():
    return {size: make_chain(size) for size in (SMALL, LARGE)}


def test_a_further_document_costs_the_same_in_a_chain_a_hundred_times_larger(chains):
    for chain in chains.values():
        document.configuration(chain, "S3", ())

    calls = {size: calls_of(document.configuration, chain, "S7", ()) for size, chain in chains.items()}

    assert calls[LARGE] <= 1.1 * calls[SMALL]


def test_the_first_document_costs_at_most_in_proportion_to_the_chain():
    calls = {size: calls_of(document.configuration, make_chain(size), "S3", ()) for size in (SMALL, LARGE)}

    assert calls[LARGE] <= LARGE / SMALL * calls[SMALL]


def test_previewing_a_move_costs_at_most_in_proportion_to_the_chain(chains):
    def preview(chain):
        return chain.changed_stores(chain.with_parent("S7", "R1"))

    calls = {size: calls_of(preview, chain) for size, chain in chains.items()}

    assert preview(chains[LARGE]) == ()
    assert calls[LARGE] <= 1.5 * LARGE / SMALL * calls[SMALL]
