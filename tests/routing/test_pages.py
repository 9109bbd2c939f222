"""The pages that explain a request and list the findings."""

import pytest

from accounts.scope import READ_ONLY, STORE_OPERATOR
from preferences.models import PreferenceValue
from tests.factories import make_admin, make_server, make_service, make_terminal, make_tree, make_user

pytestmark = pytest.mark.django_db
EXPLAIN, CHECKS = "/admin/routing/explain/", "/admin/routing/checks/"


@pytest.fixture
def tree():
    tree = make_tree(ACME=None, OSLO="ACME", OTHER=None, ROME="OTHER")
    make_service("org.example.Order")
    make_server("central", client=tree["ACME"])
    make_server("roman", client=tree["OTHER"], server_type="store")
    make_terminal("OSLO-1", tree["OSLO"])
    make_terminal("ROME-1", tree["ROME"])
    PreferenceValue.objects.create(key="multi_server_enabled", value="Y")
    return tree


def log_in(client, role="", organization=None):
    user = make_user(role=role, is_staff=True) if role else make_admin()
    if organization is not None:
        user.organizations.add(organization)
    client.force_login(user)


def test_explain_shows_service_servers_and_reasons(client, tree):
    log_in(client)

    page = client.get(EXPLAIN, {"terminal": "OSLO-1", "request": "/ws/org.example.Order"})

    assert page.status_code == 200
    text = page.content.decode()
    assert "Only org.example.Order is contained in the request." in text
    assert "It serves all organizations of ACME. It provides all services." in text
    assert "roman" not in text


def test_explain_starts_with_an_empty_form_and_names_an_unknown_terminal(client, tree):
    log_in(client)

    empty, unknown = client.get(EXPLAIN), client.get(EXPLAIN, {"terminal": "<b>", "request": "x"})

    assert (empty.status_code, unknown.status_code) == (200, 200)
    assert "There is no terminal &lt;b&gt;." in unknown.content.decode()


def test_explain_hides_terminals_of_others(client, tree):
    log_in(client, STORE_OPERATOR, tree["ROME"])

    page = client.get(EXPLAIN, {"terminal": "OSLO-1", "request": "x"}).content.decode()

    assert "There is no terminal OSLO-1." in page
    assert "ROME-1" in page


def test_checks_lists_findings_by_level_with_links(client, tree):
    PreferenceValue.objects.create(key="ping_interval_ms", value="often")
    log_in(client)

    everything, warnings = client.get(CHECKS), client.get(CHECKS, {"level": "warning"})

    text = everything.content.decode()
    assert "None of the store&#x27;s servers is a main server" in text
    assert f"?at={tree['ROME'].pk}" in text
    assert "the whole system" in text
    assert "Nothing was found at this level." in warnings.content.decode()


def test_checks_shows_only_what_the_user_may_see(client, tree):
    log_in(client, STORE_OPERATOR, tree["OSLO"])

    text = client.get(CHECKS).content.decode()

    assert "ROME" not in text


@pytest.mark.parametrize("url", [EXPLAIN, CHECKS])
def test_pages_are_for_those_with_the_right(client, tree, url):
    anonymous = client.get(url)
    log_in(client, READ_ONLY)
    reader = client.get(url)
    client.force_login(make_user(is_staff=True))
    nobody = client.get(url)

    assert (anonymous.status_code, reader.status_code, nobody.status_code) == (302, 200, 403)


@pytest.mark.parametrize("stores", [1, 3])
def test_checks_make_the_same_number_of_queries_whatever_they_find(client, stores, django_assert_max_num_queries):
    make_service("org.example.Order")
    tree = make_tree(ACME=None, **{f"S{number}": "ACME" for number in range(stores)})
    for number in range(stores):
        make_terminal(f"T{number}", tree[f"S{number}"])
        make_server(f"s{number}", client=tree["ACME"], organizations=[tree[f"S{number}"]], server_type="store")
    log_in(client)
    client.get(CHECKS)

    with django_assert_max_num_queries(7):
        assert client.get(CHECKS).status_code == 200
