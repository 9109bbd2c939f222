"""The window "Booster nodes" as a person sees it: it brings itself up to date."""

import pytest
from django.db import connection
from django.urls import reverse

from boosters.keeping import Keeper
from boosters.models import BoosterNode
from boosters.parameters import Role
from tests.boosters.pairs import give_lease, node
from tests.browser.conftest import NARROW, WIDE
from tests.factories import make_admin

pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "postgresql", reason="a pair needs PostgreSQL"),
]


def make_nodes(settings):
    for role in (Role.SECONDARY, Role.PRIMARY):
        settings.BOOSTER_PARAMETERS = node(role)
        Keeper().keep()


@pytest.mark.parametrize(("scheme", "size"), [("light", WIDE), ("dark", NARROW)], ids=["light", "dark-narrow"])
def test_the_window_follows_a_takeover_by_itself(open_windows, settings, scheme, size):
    """OMF-25, OMF-28."""
    make_nodes(settings)
    windows = open_windows(make_admin("root"), scheme=scheme, size=size)
    windows.open(reverse("pair:nodes"))
    primary = windows.page.locator("section[aria-label='primary node']")
    assert "ACTING" in primary.inner_text()
    windows.picture(f"{scheme}-{size['width']}-booster-nodes-well")

    BoosterNode.objects.filter(role="primary").update(seen_at="2026-01-01T00:00:00Z")
    give_lease(Role.SECONDARY, 8)

    windows.page.locator("section[aria-label='secondary node'] >> text=acting").wait_for(timeout=8_000)
    assert "MISSING" in primary.inner_text()
    windows.picture(f"{scheme}-{size['width']}-booster-nodes-lost")
    assert (windows.faults, windows.overflow) == ([], 0)
