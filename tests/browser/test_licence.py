"""The window "System settings" as a person sees it: in trial, licensed, in grace and expired."""

import pytest
from django.urls import reverse
from django.utils import timezone

from licensing.installation import standing
from tests.browser.conftest import NARROW, WIDE
from tests.factories import make_admin, make_server, make_terminal, make_tree
from tests.licensing.makers import DAY, make_file, make_installation

pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("vendor_keys"),
]
BLOCK = "section[aria-label='Booster authorization information']"
BANNER = ".windows-banner"


def licence(now, *, begun, left, **fields):
    return make_file(
        issued_at=now - begun * DAY, not_before=now - begun * DAY, expires_at=now + left * DAY, grace_days=30, **fields
    ).decode()


STATES = {
    "trial": (lambda now: {"started_at": now - 2 * DAY}, "5 days left."),
    "licensed": (lambda now: {"license": licence(now, begun=100, left=265)}, "265 days left."),
    "grace": (lambda now: {"license": licence(now, begun=370, left=-5)}, "25 days left."),
    "expired": (lambda now: {"license": licence(now, begun=400, left=-35)}, "The licence and its grace period ended"),
}


@pytest.mark.parametrize(("scheme", "size"), [("light", WIDE), ("dark", NARROW)], ids=["light", "dark-narrow"])
@pytest.mark.parametrize("state", STATES)
def test_the_window_shows_every_state(open_windows, state, scheme, size):
    now = timezone.now()
    fields, text = STATES[state]
    make_installation(**{"started_at": now - 500 * DAY, "highest_moment": now, **fields(now)})
    windows = open_windows(make_admin("root"), scheme=scheme, size=size)

    page = windows.open(reverse("licensing:system-settings"))
    windows.picture(f"licence-{state}-{scheme}")

    assert page.locator(f"{BLOCK} h2 .windows-label").first.inner_text().lower() == state
    assert text in page.locator(BLOCK).inner_text()
    assert page.locator(BANNER).count() == (0 if state == "licensed" else 1)
    assert page.locator("section").last.get_attribute("aria-label") in (
        "Booster authorization information",
        "Licence",
    )
    assert (windows.faults, windows.overflow) == ([], 0)


@pytest.mark.parametrize("way", ["choose", "drop"])
def test_a_licence_is_uploaded_previewed_and_stored(open_windows, tmp_path, way):
    now = timezone.now()
    make_installation(now - 30 * DAY, highest_moment=now)
    tree = make_tree(ACME=None, OSLO="ACME")
    make_server("central", client=tree["ACME"])
    make_terminal("OSLO-1", tree["OSLO"])
    content = licence(now, begun=1, left=365)
    windows = open_windows(make_admin("root"))
    page = windows.open(reverse("admin:index"))
    page.locator(BANNER).get_by_role("link", name="System settings").click()

    if way == "choose":
        file = tmp_path / "acme.lic"
        file.write_text(content)
        page.set_input_files("#id_file", file)
        page.get_by_role("button", name="Upload", exact=True).click()
    else:
        dropped = page.evaluate_handle(
            "text => { const t = new DataTransfer(); t.items.add(new File([text], 'acme.lic')); return t; }", content
        )
        page.dispatch_event(".windows-drop", "drop", {"dataTransfer": dropped})
    page.get_by_role("button", name="Store").wait_for()
    preview = page.locator(BLOCK).inner_text()
    windows.picture(f"licence-preview-{way}")
    before = standing().status.state
    page.get_by_role("button", name="Store").click()
    page.get_by_text("The licence is stored.").wait_for()
    windows.picture(f"licence-stored-{way}")

    assert ("State: none → licensed" in preview, before) == (True, "none")
    assert standing().status.state == "licensed"
    assert page.locator(BANNER).count() == 0
    assert "acme.lic" in page.locator(BLOCK).inner_text()
    assert windows.faults == []


def test_a_refused_file_says_why(open_windows, tmp_path):
    make_installation(timezone.now() - 30 * DAY, highest_moment=timezone.now())
    file = tmp_path / "other.lic"
    file.write_text("customer_name=Acme")
    windows = open_windows(make_admin("root"), size=NARROW)
    page = windows.open(reverse("licensing:system-settings"))

    page.set_input_files("#id_file", file)
    page.get_by_role("button", name="Upload", exact=True).click()
    page.get_by_role("alert").wait_for()
    windows.picture("licence-refused")

    assert page.get_by_role("alert").inner_text() == "Refused, and nothing was changed: The file is not a licence."
    assert (windows.faults, windows.overflow) == ([], 0)
