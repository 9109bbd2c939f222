"""GET and POST /api/v1/license/."""

from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.scope import SYSTEM_ADMINISTRATOR
from events.models import Event
from licensing.files import LARGEST_FILE
from licensing.installation import standing
from tests.factories import make_admin, make_server, make_terminal, make_tree, make_user, make_user_token
from tests.licensing.makers import DAY, INSTALLATION, START, STRANGER, make_file, make_installation

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("vendor_keys")]
URL = "/api/v1/license/"


@pytest.fixture
def client(api_client):
    api_client.credentials(HTTP_AUTHORIZATION=f"Bearer {make_user_token(make_admin('root'))}")
    return api_client


@pytest.fixture
def _after_the_trial(time_machine):
    make_installation()
    time_machine.move_to(START + 8 * DAY, tick=False)


def test_it_tells_state_limits_and_usage(client, time_machine):
    make_installation()
    time_machine.move_to(START + timedelta(hours=1), tick=False)
    tree = make_tree(ACME=None, OSLO="ACME")
    make_server("central", client=tree["ACME"])
    make_terminal("OSLO-1", tree["OSLO"])

    answer = client.get(URL)

    assert answer.json() == {
        "state": "trial",
        "headline": "The trial ends on 2027-01-08 12:00 UTC",
        "reason": "",
        "since": "2027-01-01T12:00:00Z",
        "until": "2027-01-08T12:00:00Z",
        "days_left": 7,
        "installation_id": INSTALLATION,
        "clock_warning": "",
        "limits": {"servers": None, "main_servers": None, "store_servers": None, "terminals": None},
        "usage": {"servers": 1, "main_servers": 1, "store_servers": 0, "terminals": 1},
        "license": None,
        "next_license": None,
    }


@pytest.mark.usefixtures("_after_the_trial")
def test_an_upload_is_in_force_in_the_same_answer(client):
    answer = client.post(URL, {"license": make_file().decode() + "\n", "file_name": "acme.lic"})

    told = answer.json()
    assert (answer.status_code, told["state"], told["limits"]["servers"]) == (200, "licensed", 3)
    assert told["license"]["customer"] == "Acme Retail"
    assert told["changes"][0] == "State: none → licensed"
    assert Event.objects.get(kind="license-accepted").actor_name == "root"


@pytest.mark.usefixtures("_after_the_trial")
def test_a_dry_run_stores_nothing(client):
    answer = client.post(f"{URL}?dry_run=true", {"license": make_file().decode()})

    assert (answer.json()["state"], answer["X-Booster-Dry-Run"]) == ("none", "true")
    assert answer.json()["changes"][0] == "State: none → licensed"
    assert standing().present is None


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("customer_name=Acme", "not_a_license"),
        ("ünïcode", "not_a_license"),
        ("x" * (LARGEST_FILE + 1), "too_large"),
        (make_file(key=STRANGER).decode(), "wrong_signature"),
        (make_file(key_id="gone", key=STRANGER).decode(), "unknown_key"),
        (make_file(installation="another").decode(), "other_installation"),
        (make_file(expires_at=START + DAY).decode(), "expired"),
    ],
    ids=["nonsense", "unicode", "large", "forged", "unknown", "other", "expired"],
)
@pytest.mark.usefixtures("_after_the_trial")
def test_a_refusal_says_why(client, text, code):
    answer = client.post(URL, {"license": text})

    problem = answer.json()
    assert (answer.status_code, problem["type"]) == (400, "/problems/license-refused")
    assert [(error["pointer"], error["code"]) for error in problem["errors"]] == [("/license", code)]
    assert (standing().present, Event.objects.get(kind="license-refused").data["reason"]) == (None, code)


@pytest.mark.usefixtures("_after_the_trial")
def test_an_older_license_is_a_conflict_until_confirmed(client):
    client.post(URL, {"license": make_file(id="newer", issued_at=START + DAY).decode()})

    refused = client.post(URL, {"license": make_file(id="older").decode()})
    confirmed = client.post(URL, {"license": make_file(id="older").decode(), "confirm_older": True})

    assert (refused.status_code, refused.json()["type"]) == (409, "/problems/license-older")
    assert confirmed.json()["license"]["id"] == "older"


@pytest.mark.parametrize("method", ["get", "post"])
def test_others_than_superusers_are_refused(api_client, method):
    """OMF-50"""
    api_client.credentials(HTTP_AUTHORIZATION=f"Bearer {make_user_token(make_user(role=SYSTEM_ADMINISTRATOR))}")

    answer = getattr(api_client, method)(URL, {"license": make_file().decode()})

    assert (answer.status_code, answer.json()["detail"]) == (403, "Only superusers see and replace the licence.")
    assert standing().present is None


@pytest.mark.usefixtures("_after_the_trial")
def test_collections_refuse_what_the_license_does_not_allow(client):
    tree = make_tree(ACME=None, OSLO="ACME")
    body = {"client": "ACME", "name": "Central", "server_type": "main", "url": "https://c.example"}
    till = {"name": "Till", "organization": "OSLO"}

    servers = [client.post("/api/v1/servers/", body | {"name": name}) for name in ("Central", "Second")]
    terminals = [client.post("/api/v1/terminals/", till | {"search_key": f"T-{number}"}) for number in range(6)]

    assert [answer.status_code for answer in servers] == [201, 409]
    assert [answer.status_code for answer in terminals] == [201] * 5 + [409]
    assert terminals[-1].json()["type"] == "/problems/license-limit"
    assert terminals[-1].json()["detail"].endswith("Up to 5 POS terminals can be added; there are 5 already.")
    edited = client.patch(f"/api/v1/servers/{servers[0].json()['id']}/", {"priority": 3})
    assert (edited.status_code, tree["OSLO"].terminals.count()) == (200, 5)


@pytest.mark.parametrize("terminals", [1, 3])
def test_it_takes_a_constant_number_of_queries(client, django_assert_num_queries, terminals):
    make_installation(timezone.now())
    tree = make_tree(ACME=None, OSLO="ACME")
    for number in range(terminals):
        make_terminal(f"T-{number}", tree["OSLO"])
    client.get(URL)

    with django_assert_num_queries(5):
        client.get(URL)
