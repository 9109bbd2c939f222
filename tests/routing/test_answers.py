"""The three documents at their doors: conditional, compressed, cross-origin, refused."""

import gzip
import hashlib
import json
from datetime import timedelta

import pytest
from django.utils import timezone

from organizations.tree import update_organization
from preferences.models import PreferenceValue
from routing.store import store
from servers.models import ServerState
from terminals.models import TerminalReport
from terminals.tokens import issue_token, revoke_terminal
from tests.factories import make_server, make_service, make_terminal, make_tree, make_user_token

pytestmark = pytest.mark.django_db

CONFIGURATION, STATUS, WEBPOS = (f"/api/v1/terminal/{door}" for door in ("configuration", "status", "webpos"))
DOORS = [CONFIGURATION, STATUS, WEBPOS]


@pytest.fixture
def tree():
    tree = make_tree(ACME=None, LYON="ACME")
    PreferenceValue.objects.create(key="multi_server_enabled", value="Y")
    make_service("org.example.Product")
    make_server("Central", client=tree["ACME"], key="central", url="https://central.example/openbravo")
    return tree


@pytest.fixture
def terminal(tree):
    return make_terminal("LY-1", tree["LYON"])


@pytest.fixture
def client(api_client, terminal):
    api_client.credentials(HTTP_AUTHORIZATION=f"Bearer {issue_token(terminal, timezone.now()).text}")
    return api_client


@pytest.mark.parametrize("door", DOORS)
def test_the_tag_is_the_hash_of_the_identity_bytes_with_a_suffix_for_gzip(client, door):
    plain = client.get(door)
    zipped = client.get(door, HTTP_ACCEPT_ENCODING="br, gzip;q=0.8")

    tag = hashlib.sha256(plain.content).hexdigest()[:32]
    assert (plain.status_code, plain["ETag"], plain.has_header("Content-Encoding")) == (200, f'"{tag}"', False)
    assert (zipped["ETag"], zipped["Content-Encoding"]) == (f'"{tag}-gzip"', "gzip")
    assert gzip.decompress(zipped.content) == plain.content
    assert plain["Content-Type"] == "application/json"
    assert plain["Cache-Control"] == "private, no-cache"
    assert plain["Vary"] == "Accept-Encoding, Authorization, Origin"
    assert plain["X-Booster-Revision"] == str(store.snapshot.revision)
    assert plain["Content-Length"] == str(len(plain.content))


@pytest.mark.parametrize("form", ['"{tag}"', '"{tag}-gzip"', 'W/"{tag}"', '"x", "{tag}"', "*"])
@pytest.mark.parametrize("door", DOORS)
def test_a_tag_the_terminal_holds_is_answered_304_without_a_body(client, door, form):
    tag = client.get(door)["ETag"].strip('"')

    answer = client.get(door, HTTP_IF_NONE_MATCH=form.format(tag=tag))

    assert (answer.status_code, answer.content, answer["ETag"]) == (304, b"", f'"{tag}"')


@pytest.mark.parametrize("encoding", ["", "identity", "gzip;q=0", "gzip; q=0.000", "br"])
def test_identity_is_sent_to_who_does_not_accept_gzip(client, encoding):
    answer = client.get(CONFIGURATION, HTTP_ACCEPT_ENCODING=encoding)

    assert (answer.status_code, json.loads(answer.content)["format"]) == (200, 1)


@pytest.mark.parametrize("door", DOORS)
def test_head_has_the_headers_of_get_and_no_body_in_both_slash_forms(client, door):
    got = client.get(door)

    for path in (door, f"{door}/"):
        head = client.head(path)
        assert (head.status_code, head.content, head["ETag"]) == (200, b"", got["ETag"])
        assert head["Content-Length"] == str(len(got.content))


@pytest.mark.parametrize("door", DOORS)
def test_other_methods_are_refused_as_a_problem(client, door):
    answers = [getattr(client, method)(door) for method in ("post", "put", "patch", "delete")]

    assert {(answer.status_code, answer["Content-Type"]) for answer in answers} == {(405, "application/problem+json")}


def test_a_change_is_in_the_next_answer(client, tree):
    before = client.get(CONFIGURATION)
    update_organization(tree["LYON"].pk, name="Lyon Part-Dieu")

    after = client.get(CONFIGURATION, HTTP_IF_NONE_MATCH=before["ETag"])

    assert (after.status_code, after.json()["organization"]["name"]) == (200, "Lyon Part-Dieu")
    assert int(after["X-Booster-Revision"]) > int(before["X-Booster-Revision"])


def test_an_observed_state_is_in_the_next_status(client, tree):
    before = client.get(STATUS)
    since = timezone.now().replace(microsecond=0)
    ServerState.objects.create(server=tree["ACME"].mobile_servers.get(), status="online", since=since)

    after = client.get(STATUS, HTTP_IF_NONE_MATCH=before["ETag"])

    assert before.json()["servers"] == [{"key": "central", "status": "offline", "since": None}]
    assert after.json()["servers"] == [
        {"key": "central", "status": "online", "since": since.isoformat().replace("+00:00", "Z")}
    ]


@pytest.mark.parametrize("door", DOORS)
def test_a_terminal_that_lost_its_right_never_gets_an_old_document(client, terminal, tree, door):
    tag = client.get(door)["ETag"]
    held = {"HTTP_IF_NONE_MATCH": tag}

    update_organization(tree["LYON"].pk, is_active=False)
    closed_store = client.get(door, **held)
    update_organization(tree["LYON"].pk, is_active=True)
    terminal.is_active = False
    terminal.save()
    inactive = client.get(door, **held)
    terminal.is_active = True
    terminal.save()
    revoke_terminal(terminal.pk, timezone.now())
    revoked = client.get(door, **held)

    assert [(answer.status_code, answer.json()["type"]) for answer in (closed_store, inactive, revoked)] == [
        (403, "/problems/organization-inactive"),
        (410, "/problems/terminal-inactive"),
        (410, "/problems/terminal-revoked"),
    ]


@pytest.mark.parametrize("door", DOORS)
def test_missing_malformed_and_unknown_tokens_get_401_and_other_kinds_403(api_client, door):
    unknown = f"bst_terminal_{'a' * 16}.{'A' * 43}"
    headers = ["", "Bearer", "Bearer nonsense", f"Bearer {unknown}", f"Bearer {make_user_token()}"]

    answers = [api_client.get(door, **({"HTTP_AUTHORIZATION": header} if header else {})) for header in headers]

    assert [answer.status_code for answer in answers] == [401, 401, 401, 401, 403]
    assert {answer["Content-Type"] for answer in answers} == {"application/problem+json"}
    assert answers[0]["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("door", [*DOORS, "/api/v1/terminal/activate", "/api/v1/terminal/token"])
def test_pages_of_active_servers_may_call_and_others_may_not(api_client, terminal, door, settings):
    settings.BOOSTER_ALLOWED_ORIGINS = ["https://pos.example"]
    store.forget()

    allowed = {
        origin: api_client.options(door, HTTP_ORIGIN=origin, HTTP_ACCESS_CONTROL_REQUEST_METHOD="GET")
        for origin in ("https://central.example", "https://pos.example", "https://evil.example", "null")
    }

    assert {origin: answer.get("Access-Control-Allow-Origin") for origin, answer in allowed.items()} == {
        "https://central.example": "https://central.example",
        "https://pos.example": "https://pos.example",
        "https://evil.example": None,
        "null": None,
    }
    preflight = allowed["https://central.example"]
    assert (preflight.status_code, preflight["Access-Control-Allow-Methods"]) == (204, "GET, HEAD, POST")
    assert preflight["Access-Control-Allow-Headers"] == "Authorization, Content-Type, If-None-Match, Last-Event-ID"
    assert not preflight.has_header("Access-Control-Allow-Credentials")


def test_cross_origin_headers_are_on_304_and_on_errors_too(client, api_client):
    origin = {"HTTP_ORIGIN": "https://central.example"}
    tag = client.get(CONFIGURATION)["ETag"]

    answers = [client.get(CONFIGURATION, HTTP_IF_NONE_MATCH=tag, **origin), client.post(CONFIGURATION, **origin)]
    client.credentials()
    answers += [client.get(CONFIGURATION, **origin), client.post("/api/v1/terminal/activate", {}, **origin)]

    assert [answer.status_code for answer in answers] == [304, 405, 401, 400]
    for answer in answers:
        assert answer["Access-Control-Allow-Origin"] == "https://central.example"
        assert answer["Access-Control-Expose-Headers"] == "ETag, X-Booster-Revision, X-Booster-Stale, Retry-After"


def test_no_other_door_allows_any_origin(api_client, terminal):
    answer = api_client.options("/admin/login/", HTTP_ORIGIN="https://central.example")

    assert not answer.has_header("Access-Control-Allow-Origin")


def test_webpos_flags_the_server_whose_page_asks(client, tree):
    make_server("Box", client=tree["ACME"], key="box", priority=1, url="https://box.example:8443/ob")

    flagged = {
        origin: [server["currentServer"] for server in client.get(WEBPOS, HTTP_ORIGIN=origin).json()["servers"]]
        for origin in ("https://central.example", "https://box.example:8443", "https://elsewhere.example")
    }

    assert flagged == {
        "https://central.example": [False, True],
        "https://box.example:8443": [True, False],
        "https://elsewhere.example": [True, False],
    }


def test_a_poll_is_reported_with_the_revision_it_handed_out(client, terminal, time_machine):
    now = timezone.now()
    time_machine.move_to(now, tick=False)
    client.get(CONFIGURATION)
    revision = store.snapshot.revision
    time_machine.shift(timedelta(seconds=30))
    client.get(STATUS)

    store.reports.flush()

    assert list(TerminalReport.objects.values_list("terminal__search_key", "last_seen_at", "revision")) == [
        ("LY-1", now + timedelta(seconds=30), revision)
    ]
