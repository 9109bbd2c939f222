"""What is loaded for long costs no collection of garbage."""

import gc
import weakref

import pytest

from routing.collecting import uncollected
from routing.store import Store
from tests.factories import make_server, make_tree


class Node:
    """Something that garbage can be made of."""


@pytest.fixture
def collections():
    """Count the collections by generation."""
    counted = []

    def note(phase, info):
        if phase == "start":
            counted.append(info["generation"])

    gc.callbacks.append(note)
    yield counted
    gc.callbacks.remove(note)


def test_loading_is_not_interrupted_and_what_was_loaded_is_not_looked_through_again(collections):
    with uncollected():
        del collections[:]
        loaded = [[number] for number in range(100_000)]
    during = list(collections)
    gc.collect()

    assert during == []
    assert gc.isenabled()
    assert not any(held is loaded for held in gc.get_objects())


def test_what_was_loaded_is_freed_when_nothing_holds_it_any_more():
    with uncollected():
        loaded = Node()
    gone = weakref.ref(loaded)

    del loaded

    assert gone() is None


def test_garbage_is_collected_before_it_would_be_spared():
    circle = Node()
    circle.itself = circle
    gone = weakref.ref(circle)
    del circle

    with uncollected():
        pass

    assert gone() is None


@pytest.mark.django_db
def test_a_snapshot_is_spared_and_freed_as_soon_as_the_next_one_is_there(collections):
    tree = make_tree(ACME=None, LYON="ACME")
    make_server("box", client=tree["ACME"])
    store = Store()
    store.refresh()
    store.snapshot.document("configuration", "LYON")
    is_spared = not any(held is store.snapshot.landscape.servers for held in gc.get_objects())
    gone = weakref.ref(store.snapshot.landscape)
    gc.disable()

    try:
        make_server("other", client=tree["ACME"])
        store.refresh()
        is_freed = gone() is None
    finally:
        gc.enable()

    assert (is_spared, is_freed) == (True, True)
