"""A chain of 10,000 organizations with 1,000 servers and 200 services stays quick."""

import time

import pytest

from bench.configurations import fill
from routing import document
from routing.load import load_landscape


@pytest.fixture
def ticking():
    """Return a function that tells the seconds since it was last called."""
    last = [time.perf_counter()]

    def tick():
        last.append(time.perf_counter())
        return last[-1] - last[-2]

    return tick


@pytest.mark.django_db
def test_a_large_chain_loads_in_seconds_and_compiles_in_milliseconds(ticking):
    fill(organizations=10_000, servers=1_000, services=200)
    ticking()

    landscape = load_landscape()
    load_s = ticking()
    store = landscape.servers["server0500"].organizations[0].target
    document.configuration(landscape, store, ())
    first_s = ticking()
    written = document.configuration(landscape, store, ())
    next_s = ticking()
    moved = landscape.with_parent(store, "R0" if landscape.organizations[store].parent != "R0" else "R1")
    rerouted = landscape.changed_stores(moved)
    move_s = ticking()

    assert len(landscape.organizations) == 9_991
    assert [server["key"] for server in written["servers"]] == ["server0500", "server0000"]
    assert rerouted == ()
    assert (load_s < 5, first_s < 0.5, next_s < 0.05, move_s < 5) == (True, True, True, True)
