import json

import pytest

from events.models import Event
from services.models import MobileService, Module
from tests.backoffice.api import as_user, outcome, pointers
from tests.factories import make_module, make_organization, make_server, make_service

pytestmark = pytest.mark.django_db
MODULES, SERVICES = "/api/v1/modules/", "/api/v1/services/"
MANIFEST = {
    "format": 1,
    "module": {"name": "org.example.loyalty", "version": "1.0", "description": "Loyalty"},
    "services": [{"name": "org.example.loyalty.Points", "routing_type": "failover", "default_timeout_s": 5}],
}


@pytest.fixture
def draft():
    return make_module("org.example.draft", in_development=True)


def test_create_answers_with_the_whole_representation(draft):
    answer = as_user().post(SERVICES, {"name": "org.example.draft.Save", "module": "org.example.draft"})

    made = MobileService.objects.get()
    assert (answer.status_code, answer["Location"]) == (201, f"{SERVICES}{made.pk}/")
    assert answer.json() == {
        "id": made.pk,
        "name": "org.example.draft.Save",
        "module": "org.example.draft",
        "module_ref": {"id": draft.pk, "url": f"{MODULES}{draft.pk}/", "display": "org.example.draft"},
        "description": "",
        "routing_type": "failover",
        "is_transactional": False,
        "default_timeout_s": None,
        "timeout_s": None,
        "is_active": True,
    }


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"name": "with blank"}, ("/name", "invalid_name")),
        ({"name": "org.example.Taken"}, ("/name", "unique")),
        ({"module": "org.example.nowhere"}, ("/module", "does_not_exist")),
        ({"routing_type": "transaction"}, ("/routing_type", "invalid_choice")),
        ({"timeout_s": 0}, ("/timeout_s", "min_value")),
        ({"timeout_s": 86_401}, ("/timeout_s", "max_value")),
        ({"timeout_s": "soon"}, ("/timeout_s", "invalid")),
        ({"routing_type": "ping", "is_transactional": True}, ("/is_transactional", "not_allowed")),
    ],
)
def test_create_refuses_and_points_at_the_member(draft, change, complaint):
    make_service("org.example.Taken")
    body = {"name": "org.example.draft.Save", "module": "org.example.draft"} | change

    answer = as_user().post(SERVICES, body)

    assert outcome(answer) == (400, "/problems/invalid")
    assert [(pointer, code.replace("violation", "invalid")) for pointer, code in pointers(answer)] == [complaint]
    assert MobileService.objects.count() == 1


def test_timeout_and_active_flag_of_a_reference_can_be_set():
    service = make_service("org.example.Product", default_timeout_s=10)

    answer = as_user().patch(f"{SERVICES}{service.pk}/", {"timeout_s": 20, "is_active": False, "description": ""})

    assert answer.status_code == 200
    assert (answer.json()["timeout_s"], answer.json()["is_active"]) == (20, False)


@pytest.mark.parametrize(
    "change",
    [
        {"name": "x"},
        {"description": "x"},
        {"routing_type": "ping"},
        {"is_transactional": True},
        {"default_timeout_s": 5},
    ],
)
def test_anything_else_of_a_reference_cannot(change):
    service = make_service("org.example.Product")

    answer = as_user().patch(f"{SERVICES}{service.pk}/", change)

    assert outcome(answer) == (409, "/problems/not-in-development")
    assert pointers(answer) == [(f"/{name}", "not_in_development") for name in change]


def test_references_are_neither_added_nor_deleted(draft):
    service = make_service("org.example.Product")

    added = as_user().post(SERVICES, {"name": "org.example.More", "module": "org.example.pos"})
    moved_out = as_user().patch(f"{SERVICES}{service.pk}/", {"module": "org.example.draft"})
    deleted = as_user().delete(f"{SERVICES}{service.pk}/")

    assert outcome(added) == outcome(moved_out) == outcome(deleted) == (409, "/problems/not-in-development")
    assert list(MobileService.objects.values_list("name", "module__name")) == [
        ("org.example.Product", "org.example.pos")
    ]


def test_a_service_in_development_is_changed_and_deleted(draft):
    service = make_service("org.example.draft.Save", module=draft)

    changed = as_user().patch(f"{SERVICES}{service.pk}/", {"name": "org.example.draft.Store"})
    deleted = as_user().delete(f"{SERVICES}{service.pk}/")

    assert (changed.status_code, changed.json()["name"], deleted.status_code) == (200, "org.example.draft.Store", 204)
    assert not MobileService.objects.exists()


def test_delete_refuses_a_service_that_servers_name(draft):
    service = make_service("org.example.draft.Save", module=draft)
    make_server("Central", client=make_organization("ACME"), services=[service])

    answer = as_user().delete(f"{SERVICES}{service.pk}/")

    assert outcome(answer) == (409, "/problems/in-use")
    assert "Central" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, ["A.Two", "Z.One", "a.Three"]),
        ({"name": "Z.One"}, ["Z.One"]),
        ({"module": "org.example.draft"}, ["Z.One"]),
        ({"routing_type": "ping"}, ["A.Two"]),
        ({"is_transactional": "true"}, ["a.Three"]),
        ({"is_active": "false"}, ["Z.One"]),
    ],
)
def test_list_filters_and_orders_by_code_point(draft, query, found):
    make_service("a.Three", is_transactional=True)
    make_service("Z.One", module=draft, is_active=False)
    make_service("A.Two", routing_type="ping")

    answer = as_user().get(SERVICES, query)

    assert [row["name"] for row in answer.json()["results"]] == found


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("url", [MODULES, SERVICES])
def test_lists_cost_the_same_however_long(url, rows, django_assert_num_queries):
    for number in range(rows):
        make_service(f"org.example.Service{number}", module=make_module(f"org.example.module{number}"))
    client = as_user()

    with django_assert_num_queries(4):  # token, its use, count, rows
        client.get(url)


def test_module_is_put_into_development():
    module = make_module()

    answer = as_user().patch(f"{MODULES}{module.pk}/", {"in_development": True})

    assert (answer.status_code, answer.json()) == (
        200,
        {"id": module.pk, "name": "org.example.pos", "version": "1.0", "description": "", "in_development": True},
    )


def test_module_that_is_installed_keeps_what_its_manifest_says():
    module = make_module()

    answer = as_user().patch(f"{MODULES}{module.pk}/", {"version": "2.0"})

    assert outcome(answer) == (409, "/problems/not-in-development")
    assert pointers(answer) == [("/version", "not_in_development")]


def test_module_with_services_is_not_deleted():
    module = make_service("org.example.Product").module

    answer = as_user().delete(f"{MODULES}{module.pk}/")

    assert outcome(answer) == (409, "/problems/in-use")
    assert "org.example.Product" in answer.json()["detail"]


def test_modules_are_found_by_name():
    make_module("org.example.a")
    make_module("org.example.b")

    answer = as_user().get(MODULES, {"name": "org.example.b"})

    assert [row["name"] for row in answer.json()["results"]] == ["org.example.b"]


def test_install_says_what_it_did():
    answer = as_user().post(f"{MODULES}install/", MANIFEST)

    assert (answer.status_code, answer.json()) == (
        200,
        {
            "module": "org.example.loyalty",
            "version": "1.0",
            "previous_version": None,
            "created": ["org.example.loyalty.Points"],
            "updated": {},
            "deleted": [],
            "withdrawn": [],
            "lines": ["org.example.loyalty 1.0: new, with 1 service."],
        },
    )
    assert Event.objects.get(kind="module-installed").actor is not None


def test_install_can_be_tried_first():
    answer = as_user().post(f"{MODULES}install/?dry_run=true", MANIFEST)

    assert (answer.status_code, answer["X-Booster-Dry-Run"]) == (200, "true")
    assert answer.json()["created"] == ["org.example.loyalty.Points"]
    assert not Module.objects.exists()
    assert not Event.objects.exists()


def test_install_names_every_error():
    wrong = json.loads(json.dumps(MANIFEST))
    wrong["module"]["version"] = "one"
    wrong["services"][0]["routing_type"] = "carrier-pigeon"

    answer = as_user().post(f"{MODULES}install/", wrong)

    assert outcome(answer) == (400, "/problems/manifest-invalid")
    assert {pointer for pointer, _ in pointers(answer)} == {"/module/version", "/services/0/routing_type"}
    assert not Module.objects.exists()


@pytest.mark.parametrize("body", [[], "text", None])
def test_install_refuses_what_is_no_manifest(body):
    answer = as_user().post(f"{MODULES}install/", json.dumps(body), content_type="application/json")

    assert outcome(answer) == (400, "/problems/manifest-invalid")
