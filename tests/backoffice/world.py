"""A small configuration with one object of every collection."""

from preferences.models import PreferenceValue
from tests.factories import make_module, make_server, make_service, make_terminal, make_tree


def make_world():
    """Make a store OSLO with one of everything; return its objects by the collection they are in."""
    tree = make_tree(ACME=None, NORTH="ACME", OSLO="NORTH", EMPTY="NORTH", OTHER=None, ROME="OTHER")
    module = make_module("org.example.draft", in_development=True)
    service = make_service("org.example.draft.Save", module=module)
    terminal = make_terminal("OSLO-1", tree["OSLO"])
    objects = {
        "organizations": tree["EMPTY"],
        "modules": make_module("org.example.empty"),
        "services": service,
        "preferences": PreferenceValue.objects.create(key="request_retries", value="1", organization=tree["OSLO"]),
        "servers": make_server("LyonBox", client=tree["ACME"], organizations=[tree["OSLO"]]),
        "terminals": terminal,
    }
    return tree, objects
