"""Patches, a roll-out that goes on, and the versions, as a person sees them."""

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from boosters import orders, rolling
from boosters.driver import drive
from boosters.patch_models import Patch, RollOut, RollOutTarget
from boosters.rolling import Wave
from servers.models import MobileServer, ServerReport, ServerState
from tests.boosters.makers import make_container, make_patch
from tests.browser.conftest import NARROW, WIDE
from tests.factories import make_admin, make_server, make_tree

pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("patch_home"),
]


@pytest.fixture
def chain():
    """Make a main and four store servers that report, one of them off, one out of range."""
    tree = make_tree(ACME=None, NORTH="ACME", OSLO="NORTH", BERGEN="NORTH", ROME="ACME", NICE="ACME")
    now = timezone.now()
    versions = {"central": "1.1.0.0", "oslo": "1.1.0.0", "bergen": "1.1.0.0", "rome": "1.0.0.0", "nice": "1.1.0.0"}
    for name, version in versions.items():
        fields = {} if name == "central" else {"organizations": [tree[name.upper()]], "server_type": "store"}
        server = make_server(name, client=tree["ACME"], **fields)
        seen = now - timedelta(hours=name == "nice")
        ServerState.objects.create(server=server, status="online", since=seen, proved_at=seen)
        ServerReport.objects.create(
            server=server,
            software_version=version,
            reported_at=seen,
            modules=[{"name": "org.openbravo.pos", "version": version}],
            pending=0,
        )
    return tree


def waves():
    oslo = MobileServer.objects.get(name="oslo")
    return [Wave("Test store", servers=(oslo.pk,)), Wave("All other servers", everybody=True)]


def say(name, state, **told):
    server = MobileServer.objects.get(name=name)
    target = RollOutTarget.objects.filter(server=server).latest("pk")
    orders.report_progress(server, target.pk, state, timezone.now(), **told)


LOOKS = [("light", WIDE), ("dark", NARROW)]


@pytest.mark.parametrize(("scheme", "size"), LOOKS, ids=["light", "dark-narrow"])
def test_a_roll_out_shows_by_itself_how_it_goes_on(open_windows, chain, scheme, size):
    row = rolling.create(make_patch(), timezone.now(), waves=waves(), bytes_per_s=500_000)
    drive(timezone.now())
    windows = open_windows(make_admin("root"), scheme=scheme, size=size)
    page = windows.open(reverse("boosters:roll-out", args=[row.pk]))
    page.get_by_text("1 of 5 servers over. At work: oslo.").wait_for()

    say("oslo", "downloading", received_bytes=row.patch.size_bytes // 2)
    page.locator("tr[data-server=oslo][data-state=downloading]").wait_for()
    say("oslo", "done", version="1.2.0.0")
    drive(timezone.now())
    say("bergen", "failed", detail="The backup command ended with status 1.")
    drive(timezone.now())
    page.get_by_text("Paused with 3 of 5 servers over: bergen: The backup command ended with status 1.").wait_for()
    windows.picture(f"roll-out-{scheme}", full_page=True)
    page.get_by_role("link", name="Skip bergen").click()
    windows.picture(f"roll-out-skip-{scheme}")
    page.get_by_role("button", name="Skip bergen").click()
    page.locator("tr[data-server=bergen][data-state=skipped]").wait_for()

    row.refresh_from_db()
    assert (row.state, windows.faults, windows.overflow) == ("running", [], 0)


@pytest.mark.parametrize(("scheme", "size"), LOOKS, ids=["light", "dark-narrow"])
def test_a_patch_is_uploaded_and_rolled_out(open_windows, chain, tmp_path, scheme, size):
    file = tmp_path / "summer.bpatch"
    file.write_bytes(make_container())
    windows = open_windows(make_admin("root"), scheme=scheme, size=size)
    page = windows.open(reverse("boosters:patches"))
    windows.picture(f"patches-{scheme}", full_page=True)

    page.set_input_files("#id_file", file)
    page.get_by_role("button", name="Upload", exact=True).click()
    page.get_by_text("Openbravo POS 1.2.0.0 is kept.").wait_for()
    page.get_by_text("Wave 1", exact=True).click()
    page.get_by_label("oslo").first.check()
    windows.picture(f"patch-{scheme}", full_page=True)
    page.get_by_role("button", name="Roll out", exact=True).click()
    page.get_by_text("It begins in a moment.").wait_for()

    row = RollOut.objects.get(patch=Patch.objects.get())
    assert (row.waves, windows.faults, windows.overflow) == (["oslo", "All other servers"], [], 0)


@pytest.mark.parametrize(("scheme", "size"), LOOKS, ids=["light", "dark-narrow"])
def test_the_versions_stand_beside_centrals(open_windows, chain, scheme, size):
    windows = open_windows(make_admin("root"), scheme=scheme, size=size)

    page = windows.open(reverse("boosters:versions"))
    windows.picture(f"versions-{scheme}", full_page=True)

    told = page.locator("tr[data-server=rome]").inner_text()
    assert "different from central" in told.lower()
    assert "Version 1.0.0.0, central has 1.1.0.0" in told
    assert (windows.faults, windows.overflow) == ([], 0)
