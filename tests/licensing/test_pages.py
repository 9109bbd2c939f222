"""The window "System settings", the banner and the dashboard."""

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from accounts.scope import READ_ONLY, STORE_OPERATOR, SYSTEM_ADMINISTRATOR
from events.models import Event
from licensing import files
from licensing.files import LARGEST_FILE
from licensing.installation import standing
from organizations.models import Organization
from terminals.models import Terminal
from tests.factories import make_admin, make_server, make_terminal, make_tree, make_user
from tests.licensing.makers import DAY, START, make_file, make_installation

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("vendor_keys")]
URL = "/admin/system-settings/"
BANNER = 'class="windows-banner '


@pytest.fixture
def windows(client, time_machine):
    make_installation()
    time_machine.move_to(START + 8 * DAY, tick=False)
    client.force_login(make_admin("root"))
    return client


def put(windows, content, name="acme.lic", **fields):
    return windows.post(URL, {"file": SimpleUploadedFile(name, content), **fields})


def confirm(windows, page, **fields):
    told = {"text": page.context["text"], "file_name": page.context["file_name"], "confirmed": "yes"}
    return windows.post(URL, told | fields, follow=True)


def test_a_license_is_shown_before_it_is_stored(windows):
    preview = put(windows, make_file() + b"\n")
    before = standing().present
    stored = confirm(windows, preview)

    assert preview.context["change"].lines[0] == "State: none → licensed"
    assert before is None
    assert ("Licensed for Acme Retail" in stored.content.decode(), standing().present.id) == (True, "L-1")
    event = Event.objects.get(kind="license-accepted")
    assert (event.actor_name, event.data["file_name"]) == ("root", "acme.lic")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "The file is not a licence."),
        (b"customer_name=Acme", "The file is not a licence."),
        (b"x" * (LARGEST_FILE + 1), "The file has more than 64 KiB: it is not a licence."),
        (make_file(expires_at=START + DAY), "The licence expired on 2027-01-02 12:00 UTC."),
    ],
    ids=["empty", "nonsense", "large", "expired"],
)
def test_a_refused_file_is_explained_and_recorded(windows, content, reason):
    page = put(windows, content, name="bad.lic")

    assert f"Refused, and nothing was changed: {reason}" in page.content.decode()
    assert (Event.objects.get().data["file_name"], Event.objects.get().cause) == ("bad.lic", reason)
    assert standing().present is None


def test_it_says_when_no_key_of_the_vendor_ships(windows, vendor_keys):
    with_keys = windows.get(URL).content.decode()
    for path in vendor_keys.glob("*.pem"):
        path.unlink()
    files._shipped.cache_clear()
    without = windows.get(URL).content.decode()
    refused = put(windows, make_file()).content.decode()

    assert "<dt>Vendor's keys</dt><dd>test-1, test-2</dd>" in with_keys
    assert "none ships with this build: no licence can be accepted" in without
    assert "no key of the vendor ships with this build, so it can accept no licence." in refused


def test_an_older_license_needs_its_tick(windows):
    confirm(windows, put(windows, make_file(id="newer", issued_at=START + DAY)))
    preview = put(windows, make_file(id="older"))

    refused = confirm(windows, preview)
    kept = standing().present.id
    confirm(windows, preview, confirm_older="on")

    assert "It was issued before the licence it replaces" in preview.content.decode()
    assert "Confirm to replace it all the same" in refused.content.decode()
    assert (kept, standing().present.id) == ("newer", "older")


def test_markup_in_a_license_or_a_file_name_stays_text(windows):
    page = put(windows, make_file(customer="<b>Acme</b>"), name="<i>.lic")

    text = page.content.decode()
    assert ("<b>Acme</b>" in text, "<i>.lic" in text, "&lt;b&gt;Acme&lt;/b&gt;" in text) == (False, False, True)


@pytest.mark.parametrize("role", [SYSTEM_ADMINISTRATOR, STORE_OPERATOR, READ_ONLY])
def test_only_superusers_open_it(client, role):
    """OMF-50"""
    client.force_login(make_user(role=role, is_staff=True))

    assert [client.get(URL).status_code, put(client, make_file()).status_code] == [403, 403]
    assert "System settings" not in client.get(reverse("admin:index")).content.decode()
    assert standing().present is None


def test_the_banner_is_in_every_window_and_not_on_the_login_page(windows):
    addresses = [reverse("admin:index"), URL, reverse("admin:organizations_organization_tree")]
    addresses += [reverse("admin:terminals_terminal_changelist"), reverse("admin:terminals_terminal_add")]
    addresses += [reverse("routing:checks"), reverse("admin:password_change")]

    banners = [windows.get(address).content.decode().count(BANNER) for address in addresses]
    windows.logout()

    assert banners == [1] * len(addresses)
    assert BANNER not in windows.get(reverse("admin:login")).content.decode()


def test_no_banner_while_everything_is_well(windows):
    make_installation(license=make_file().decode())

    assert BANNER not in windows.get(reverse("admin:index")).content.decode()


def test_the_banner_warns_of_a_clock_that_was_set_back(windows):
    make_installation(license=make_file().decode(), highest_moment=START + 9 * DAY)

    assert "The clock of this node says 2027-01-09 12:00 UTC" in windows.get(reverse("admin:index")).content.decode()


def test_the_dashboard_tells_the_state(windows):
    page = windows.get(reverse("admin:index"))

    assert page.context["license"]["headline"] == "There is no licence and the trial ended on 2027-01-08 12:00 UTC"


def test_windows_and_imports_refuse_what_the_license_does_not_allow(windows):
    tree = make_tree(ACME=None, OSLO="ACME")
    make_server("central", client=tree["ACME"])
    for number in range(5):
        make_terminal(f"T-{number}", tree["OSLO"])
    form = {"search_key": "T-5", "name": "Till", "organization": tree["OSLO"].pk, "is_active": "on"}
    rows = SimpleUploadedFile("t.csv", b"search_key,name,organization,is_active\nT-6,Till,OSLO,true\n")

    added = windows.post(reverse("admin:terminals_terminal_add"), form)
    imported = windows.post(
        reverse("admin:terminals_terminal_import"), {"import_file": rows, "format": "0", "resource": ""}
    )

    reason = "Up to 5 POS terminals can be added; there are 5 already."
    assert [reason in page.content.decode() for page in (added, imported)] == [True, True]
    assert Terminal.objects.count() == 5


@pytest.mark.parametrize("uploads", [1, 3])
def test_the_page_takes_a_constant_number_of_queries(windows, django_assert_max_num_queries, uploads):
    for _ in range(uploads):
        put(windows, b"nonsense")
    make_tree(ACME=None)
    assert Organization.objects.count() == 1

    with django_assert_max_num_queries(11):
        windows.get(URL)
