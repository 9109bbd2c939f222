import json
from datetime import UTC, datetime, timedelta
from io import BytesIO
from unittest import mock

import pytest
from django.core.cache import cache
from django.core.handlers.asgi import ASGIRequest
from django.db import OperationalError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import resolve

from accounts.models import UserToken
from accounts.scope import STORE_OPERATOR
from organizations.models import Organization
from preferences.models import PreferenceValue
from tests.backoffice.api import as_user, outcome, pointers
from tests.backoffice.world import make_world
from tests.factories import (
    make_admin,
    make_module,
    make_organization,
    make_server,
    make_service,
    make_terminal,
    make_user,
    make_user_token,
)

pytestmark = pytest.mark.django_db
URL = "/api/v1/organizations/"
MOMENT = datetime(2026, 3, 1, 8, 0, 30, tzinfo=UTC)
BODY = {"code": "ACME", "name": "Acme", "kind": "client"}


def detail(organization):
    return f"{URL}{organization.pk}/"


def bearer(text):
    return {"Authorization": f"Bearer {text}"}


# --- Credentials ---


@pytest.mark.parametrize(
    "header",
    [
        "Bearer",
        "Bearer ",
        "Bearer nonsense",
        "Basic YTpi",
        "bst_user_x.y",
        "Bearer bst_robot_aaaabbbbccccdddd." + "x" * 43,
    ],
)
def test_credential_that_is_malformed_is_not_authenticated(api_client, header):
    answer = api_client.get(URL, headers={"Authorization": header})

    assert outcome(answer) == (401, "/problems/not-authenticated")
    assert answer["WWW-Authenticate"] == "Bearer"


def test_no_credential_is_not_authenticated(api_client):
    answer = api_client.get(URL)

    assert outcome(answer) == (401, "/problems/not-authenticated")
    assert answer["WWW-Authenticate"] == "Bearer"


def test_token_ends_when_it_expires_is_revoked_or_its_user_leaves(api_client, time_machine):
    time_machine.move_to(MOMENT, tick=False)
    user = make_admin()
    expiring = make_user_token(user, expires_at=MOMENT + timedelta(hours=1))
    revoked = make_user_token(user)
    UserToken.objects.filter(token_id=revoked[9:25]).update(revoked_at=MOMENT)
    orphaned = make_user_token(make_user(is_active=False, is_superuser=True))
    wrong = expiring[:-1] + ("a" if expiring[-1] != "a" else "b")

    found = {
        name: api_client.get(URL, headers=bearer(text)).status_code
        for name, text in locals().items()
        if isinstance(text, str)
    }
    time_machine.move_to(MOMENT + timedelta(hours=1), tick=False)

    assert found == {"expiring": 200, "revoked": 401, "orphaned": 401, "wrong": 401}
    assert api_client.get(URL, headers=bearer(expiring)).status_code == 401


def test_token_notes_its_use_at_most_once_a_minute(api_client, time_machine):
    time_machine.move_to(MOMENT, tick=False)
    text = make_user_token()

    uses = []
    for seconds in (0, 59, 60):
        time_machine.move_to(MOMENT + timedelta(seconds=seconds), tick=False)
        api_client.get(URL, headers=bearer(text))
        uses.append(UserToken.objects.get().last_used_at)

    assert uses == [MOMENT, MOMENT, MOMENT + timedelta(minutes=1)]


def test_read_only_token_reads_and_refuses_every_write():
    client = as_user(is_read_only=True)
    organization = make_organization("ACME")

    writes = [
        client.post(URL, {}),
        client.post(f"{URL}?dry_run=true", {}),
        client.put(detail(organization), {}),
        client.patch(detail(organization), {}),
        client.delete(detail(organization)),
    ]

    assert client.get(detail(organization)).status_code == 200
    assert {outcome(answer) for answer in writes} == {(403, "/problems/read-only-token")}


def test_token_has_no_more_rights_than_its_user():
    client = as_user(make_user())

    answer = client.get(URL)

    assert outcome(answer) == (403, "/problems/forbidden")
    assert "organizations.view_organization" in answer.json()["detail"]


def test_failed_credentials_are_limited_per_address_and_valid_ones_never_refused(api_client, time_machine):
    time_machine.move_to(MOMENT, tick=False)
    valid = make_user_token()
    for _ in range(100):
        assert api_client.get(URL, headers=bearer("wrong")).status_code == 401

    refused = api_client.get(URL, headers=bearer("wrong"))
    elsewhere = api_client.get(URL, headers=bearer("wrong"), REMOTE_ADDR="192.0.2.7")

    assert outcome(refused) == (429, "/problems/too-many-attempts")
    assert refused["Retry-After"] == "870"
    assert elsewhere.status_code == 401
    assert api_client.get(URL, headers=bearer(valid)).status_code == 200
    time_machine.move_to(MOMENT + timedelta(minutes=15), tick=False)
    assert api_client.get(URL, headers=bearer("wrong")).status_code == 401


def test_failed_credentials_are_told_apart_without_the_cache(api_client):
    with mock.patch.object(cache, "incr", side_effect=ValueError("gone")):
        answer = api_client.get(URL, headers=bearer("wrong"))

    assert outcome(answer) == (401, "/problems/not-authenticated")


# --- Browser sessions ---


@pytest.fixture
def browser():
    client = Client(enforce_csrf_checks=True)
    client.force_login(make_admin())
    return client


def test_session_reads_and_needs_its_csrf_token_to_write(browser):
    make = {"path": URL, "data": json.dumps(BODY), "content_type": "application/json"}
    token = "x" * 32
    browser.cookies["csrftoken"] = token

    without = browser.post(**make)
    with_token = browser.post(**make, headers={"X-CSRFToken": token})

    assert browser.get(URL).status_code == 200
    assert outcome(without) == (403, "/problems/csrf")
    assert with_token.status_code == 201


def test_session_that_owes_a_new_password_gets_nothing_else():
    client = Client()
    client.force_login(make_user(is_superuser=True, must_change_password=True))

    assert outcome(client.get(URL)) == (403, "/problems/password-change-required")


# --- Requests ---


@pytest.mark.parametrize(
    "body",
    ["{", "", '{"code": NaN}', "[" * 100_000, b"\xff\xfe", f'{{"code": {"9" * 5000}}}'],
    ids=lambda body: str(body)[:9],
)
def test_body_that_is_no_json_is_refused(body):
    answer = as_user().generic("POST", URL, body, content_type="application/json")

    assert outcome(answer) == (400, "/problems/invalid")


@pytest.mark.parametrize("body", ["[]", "1", "null", '"text"'])
def test_body_that_is_no_object_is_refused(body):
    answer = as_user().generic("POST", URL, body, content_type="application/json")

    assert outcome(answer) == (400, "/problems/invalid")
    assert [pointer for pointer, _ in pointers(answer)] == [""]


def test_body_over_one_mebibyte_is_too_large():
    answer = as_user().post(URL, {**BODY, "name": "x" * 1024 * 1024})

    assert outcome(answer) == (413, "/problems/too-large")


@pytest.mark.parametrize(("name", "status"), [("Acme", 201), ("x" * 1024 * 1024, 413)])
def test_body_of_unknown_length_is_read_within_the_same_bounds(name, status):
    content = BytesIO(json.dumps(BODY | {"name": name}).encode())
    headers = [
        (b"authorization", f"Bearer {make_user_token()}".encode()),
        (b"content-type", b"application/json"),
        (b"transfer-encoding", b"chunked"),
    ]
    request = ASGIRequest({"type": "http", "method": "POST", "path": URL, "headers": headers}, content)

    answer = resolve(URL).func(request)

    assert answer.status_code == status


def test_body_of_another_type_is_unsupported():
    answer = as_user().generic("POST", URL, "code=ACME", content_type="application/x-www-form-urlencoded")

    assert outcome(answer) == (415, "/problems/unsupported-media-type")


def test_answer_in_another_type_is_not_acceptable():
    answer = as_user().get(URL, headers={"Accept": "text/csv"})

    assert outcome(answer) == (406, "/problems/not-acceptable")


@pytest.mark.parametrize(
    ("method", "path"),
    [("PUT", URL), ("PATCH", URL), ("DELETE", URL), ("OPTIONS", URL), ("TRACE", URL), ("POST", f"{URL}1/")],
)
def test_method_that_an_address_does_not_know_is_not_allowed(method, path):
    answer = as_user().generic(method, path)

    assert outcome(answer) == (405, "/problems/method-not-allowed")
    assert "GET" in answer["Allow"]


@pytest.mark.parametrize("path", ["/api/", "/api/v1/nothing/", f"{URL}999999/", f"{URL}{10**30}/", f"{URL}ACME/"])
def test_address_without_anything_is_not_found(path):
    answer = as_user().get(path)

    assert outcome(answer) == (404, "/problems/not-found")
    assert answer.json()["instance"] == path


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_address_without_its_final_slash_leads_there_with_method_and_body(method):
    answer = as_user().generic(method, URL.rstrip("/"))

    assert (answer.status_code, answer["Location"]) == (308, URL)


def test_answers_are_not_kept_by_caches():
    client = as_user()

    kept = {client.get(path)["Cache-Control"] for path in (URL, f"{URL}1/", "/api/v1/routing/checks/")}

    assert kept == {"no-store"}


def test_database_that_is_away_is_told_with_a_time_to_come_back():
    client = as_user()

    with mock.patch("django.db.backends.utils.CursorWrapper.execute", side_effect=OperationalError("no route")):
        answer = client.get(URL)

    assert outcome(answer) == (503, "/problems/unavailable")
    assert (answer["Retry-After"], "no route" in answer.content.decode()) == ("5", False)


def test_error_nobody_foresaw_is_a_problem_without_its_words():
    client = as_user()

    with mock.patch("backoffice.api.views.Collection.get_queryset", side_effect=RuntimeError("secret inside")):
        answer = client.get(URL)

    assert outcome(answer) == (500, "/problems/internal-error")
    assert "secret inside" not in answer.content.decode()


def test_page_is_cut_to_a_thousand():
    client = as_user()
    root = make_organization("ACME")
    for number in range(3):
        make_organization(f"S{number}", root)

    answer = client.get(URL, {"limit": 5000, "offset": 1})

    assert (answer.status_code, len(answer.json()["results"])) == (200, 3)
    assert "limit=1000" in answer.json()["previous"]


@pytest.mark.parametrize("collection", ["organizations", "modules", "services", "preferences", "servers", "terminals"])
def test_lists_cost_a_limited_user_the_same_however_long(collection, django_assert_num_queries):
    tree, _ = make_world()
    operator = make_user(role=STORE_OPERATOR)
    operator.organizations.add(tree["NORTH"])
    client = as_user(operator)
    url = f"/api/v1/{collection}/"
    client.get(url)
    with CaptureQueriesContext(connection) as before:
        shown = client.get(url).json()["count"]

    for number in range(3):
        store = make_organization(f"S{number}", tree["NORTH"])
        make_terminal(f"S{number}-1", store)
        make_server(client=tree["ACME"], organizations=[store])
        make_service(f"org.example.S{number}", module=make_module(f"org.example.m{number}"))
        PreferenceValue.objects.create(key="request_retries", value="1", organization=store)

    with django_assert_num_queries(len(before)):
        assert client.get(url).json()["count"] == shown + 3


# --- Preconditions and dry runs ---


def test_if_match_lets_only_the_version_that_was_read_be_changed():
    organization = make_organization("ACME")
    client = as_user()
    etag = client.get(detail(organization))["ETag"]

    first = client.patch(detail(organization), {"name": "First"}, headers={"If-Match": etag})
    second = client.patch(detail(organization), {"name": "Second"}, headers={"If-Match": etag})
    deleted = client.delete(detail(organization), headers={"If-Match": etag})

    organization.refresh_from_db()
    assert (first.status_code, organization.name) == (200, "First")
    assert outcome(second) == outcome(deleted) == (412, "/problems/precondition-failed")
    assert first["ETag"] == client.get(detail(organization))["ETag"] != etag


@pytest.mark.parametrize(
    ("header", "status"), [("*", 200), ("{etag}", 200), ('"x", {etag}', 200), ("W/{etag}", 412), ("x", 412)]
)
def test_if_match_reads_lists_and_compares_strongly(header, status):
    organization = make_organization("ACME")
    client = as_user()
    etag = client.get(detail(organization))["ETag"]

    answer = client.patch(detail(organization), {"name": "New"}, headers={"If-Match": header.format(etag=etag)})

    assert answer.status_code == status


def test_dry_run_gives_the_same_answer_and_changes_nothing():
    root = make_organization("ACME")
    client = as_user()
    hooks = list(connection.run_on_commit)

    answers = [
        client.post(f"{URL}?dry_run=true", BODY | {"code": "OTHER"}),
        client.patch(f"{detail(root)}?dry_run=true", {"name": "New"}),
        client.put(f"{detail(root)}?dry_run=true", BODY | {"name": "New"}),
        client.delete(f"{detail(root)}?dry_run=true"),
    ]

    assert [(answer.status_code, answer["X-Booster-Dry-Run"]) for answer in answers] == [
        (201, "true"),
        (200, "true"),
        (200, "true"),
        (204, "true"),
    ]
    assert [answers[0].json()["code"], answers[1].json()["name"]] == ["OTHER", "New"]
    assert list(Organization.objects.values_list("code", "name")) == [("ACME", "Acme")]
    assert Organization.history.count() == 1
    assert connection.run_on_commit == hooks


def test_dry_run_refuses_as_the_real_thing_would():
    root = make_organization("ACME")
    make_organization("OSLO", root)

    answer = as_user().delete(f"{detail(root)}?dry_run=true")

    assert outcome(answer) == (409, "/problems/in-use")
    assert answer["X-Booster-Dry-Run"] == "true"


def test_dry_run_is_true_or_false_and_nothing_else():
    client = as_user()

    assert pointers(client.post(f"{URL}?dry_run=1", BODY)) == [("?dry_run", "invalid")]
    assert not Organization.objects.exists()
    assert "X-Booster-Dry-Run" not in client.post(f"{URL}?dry_run=false", BODY)
    assert Organization.objects.count() == 1


def test_write_names_its_author_in_the_history():
    user = make_admin("ada")

    as_user(user).post(URL, BODY)

    assert Organization.history.get().history_user == user


def test_every_write_moves_the_revision_but_a_dry_run_does_not():
    from routing.revision import numbers

    client = as_user()
    before = numbers()

    client.post(f"{URL}?dry_run=true", BODY)
    after_dry_run = numbers()
    client.post(URL, BODY)

    assert after_dry_run == before
    assert numbers()["landscape"] > before["landscape"]
