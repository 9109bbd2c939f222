"""What a rule refuses shows on the form, changes nothing, and is never a server error."""

from pathlib import Path

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse
from django.utils import timezone

from accounts.models import User, UserToken
from accounts.scope import STORE_OPERATOR, SYSTEM_ADMINISTRATOR
from events.models import Event
from organizations.models import Organization
from preferences.models import PreferenceValue
from servers.models import MobileServer
from services.models import MobileService, Module
from terminals.models import Terminal
from tests.factories import (
    make_admin,
    make_module,
    make_server,
    make_service,
    make_terminal,
    make_tree,
    make_user,
)

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def administrator(client):
    user = make_admin("root")
    client.force_login(user)
    return user


def address(model, view, *args):
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{view}", args=args)


def errors_of(page):
    """Return the messages of a form that was shown again, those of its tabs included."""
    assert page.status_code == 200
    form = page.context["adminform"].form
    found = {field: list(messages) for field, messages in form.errors.items()}
    for formset in page.context["inline_admin_formsets"]:
        for row in formset.formset.errors:
            found |= {field: list(messages) for field, messages in row.items()}
    return found


def messages_of(page):
    return [str(message) for message in page.context["messages"]]


# --- Organizations -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "parent", "field", "message"),
    [
        ("store", None, "__all__", "A client has no parent; a region or store needs one."),
        ("client", "ACME", "__all__", "A client has no parent; a region or store needs one."),
        ("store", "OSLO", "parent", "Nothing can lie below a store, and OSLO is one."),
    ],
)
def test_an_organization_in_the_wrong_place_is_refused(client, kind, parent, field, message):
    tree = make_tree(ACME=None, OSLO="ACME")

    page = client.post(
        address(Organization, "add"),
        {"code": "X", "name": "X", "kind": kind, "parent": tree[parent].pk if parent else "", "is_active": "on"},
    )

    assert errors_of(page) == {field: [message]}
    assert not Organization.objects.filter(code="X").exists()


def test_an_organization_is_made_and_renamed_through_the_tree(client):
    tree = make_tree(ACME=None, NORTH="ACME", OSLO="NORTH")

    client.post(
        address(Organization, "add"),
        {"code": "ROME", "name": "Rome", "kind": "store", "parent": tree["NORTH"].pk, "is_active": "on"},
    )
    client.post(address(Organization, "change", tree["NORTH"].pk), {"code": "NORTH", "name": "Nordics"})

    assert dict(Organization.objects.values_list("code", "path")) == {
        "ACME": "Acme",
        "NORTH": "Acme / Nordics",
        "OSLO": "Acme / Nordics / Oslo",
        "ROME": "Acme / Nordics / Rome",
    }
    assert not Organization.objects.get(code="NORTH").is_active


def test_a_code_that_is_taken_is_refused_on_its_field(client):
    make_tree(ACME=None)

    page = client.post(address(Organization, "add"), {"code": "ACME", "name": "X", "kind": "client"})

    assert errors_of(page) == {"code": ["Organization with this Code already exists."]}


def test_deleting_what_is_in_use_names_what_blocks(client):
    tree = make_tree(ACME=None, NORTH="ACME", OSLO="NORTH")
    make_terminal("OSLO-1", tree["OSLO"])

    one = client.post(address(Organization, "delete", tree["OSLO"].pk), {"post": "yes"}, follow=True)
    many = client.post(
        address(Organization, "changelist"),
        {"action": "delete_selected", "_selected_action": [tree["OSLO"].pk], "post": "yes"},
        follow=True,
    )

    assert "POS terminal: <a" in one.content.decode()
    assert many.status_code == 200
    assert Organization.objects.filter(code="OSLO").exists()


def test_several_organizations_are_deleted_together(client):
    tree = make_tree(ACME=None, NORTH="ACME", OSLO="NORTH", ROME="ACME")

    page = client.post(
        address(Organization, "changelist"),
        {"action": "delete_selected", "_selected_action": [tree["ROME"].pk, tree["OSLO"].pk], "post": "yes"},
        follow=True,
    )

    assert page.status_code == 200
    assert list(Organization.objects.order_by("code").values_list("code", flat=True)) == ["ACME", "NORTH"]


def test_a_move_names_the_stores_it_re_routes_and_waits_for_confirmation(client):
    tree = make_tree(ACME=None, NORTH="ACME", OSLO="NORTH", SOUTH="ACME", ROME="SOUTH")
    PreferenceValue.objects.create(key="multi_server_enabled", value="Y")
    make_server("regional", client=tree["ACME"], organizations=[tree["SOUTH"]])
    move = address(Organization, "move", tree["OSLO"].pk)

    asked = client.post(move, {"parent": tree["SOUTH"].pk})
    unmoved = Organization.objects.get(code="OSLO").parent.code
    confirmed = client.post(move, {"parent": tree["SOUTH"].pk, "confirmed": "yes"}, follow=True)

    assert "<strong>1 store</strong> will route differently" in asked.content.decode()
    assert unmoved == "NORTH"
    assert messages_of(confirmed) == ["Oslo lies below Acme / South now."]
    assert Organization.objects.get(code="OSLO").path == "Acme / South / Oslo"


def test_a_move_that_the_tree_does_not_allow_is_refused_before_it_is_confirmed(client):
    tree = make_tree(ACME=None, NORTH="ACME", FJORD="NORTH", OSLO="FJORD")

    page = client.post(address(Organization, "move", tree["NORTH"].pk), {"parent": tree["FJORD"].pk})

    assert page.context["form"].errors == {"parent": ["FJORD lies below NORTH."]}


def test_the_tree_page_refuses_an_empty_name_with_a_message(client):
    tree = make_tree(ACME=None)

    page = client.post(
        reverse("admin:organizations_organization_quick_change", args=[tree["ACME"].pk]), {"name": ""}, follow=True
    )

    assert messages_of(page) == ["This field cannot be blank."]
    assert Organization.objects.get().name == "Acme"


# --- Mobile servers ------------------------------------------------------------------------------


def server_form(client_organization, organizations=(), services=(), **fields):
    form = {
        "client": client_organization.pk,
        "key": "",
        "name": "Oslo Box",
        "description": "",
        "server_type": "store",
        "url": "HTTPS://Oslo.Example:443/openbravo/",
        "priority": "5",
        "defined_services": "only",
        "is_active": "on",
        "probe_timeout_s": "5",
        "expected_status": "200",
        **fields,
    }
    for prefix, field, rows in (
        ("organizations_by_server", "organization", organizations),
        ("services_by_server", "service", services),
    ):
        form |= {f"{prefix}-TOTAL_FORMS": len(rows), f"{prefix}-INITIAL_FORMS": 0}
        for number, row in enumerate(rows):
            form |= {f"{prefix}-{number}-{field}": row.pk, f"{prefix}-{number}-is_active": "on"}
    return form


def test_a_server_is_saved_with_its_tabs(client):
    tree = make_tree(ACME=None, OSLO="ACME")
    service = make_service("org.example.Order")

    answer = client.post(address(MobileServer, "add"), server_form(tree["ACME"], [tree["OSLO"]], [service]))

    server = MobileServer.objects.get()
    assert answer.status_code == 302
    assert (server.key, server.url) == ("oslo_box", "https://oslo.example/openbravo")
    assert [row.organization.code for row in server.organizations_by_server.all()] == ["OSLO"]
    assert [row.service.name for row in server.services_by_server.all()] == ["org.example.Order"]


@pytest.mark.parametrize(
    ("fields", "errors"),
    [
        ({"url": "ftp://oslo"}, {"url": ["The address must start with http:// or https://."]}),
        ({"key": "a key"}, {"key": ["Use letters, digits, '_' and '-'."]}),
        (
            {"key": "CENTRAL"},
            {"key": ["Another server has this key (upper and lower case count as the same)."]},
        ),
        ({"name": "central"}, {"name": ["Another server of this client has this name."]}),
        (
            {"priority": "-1"},
            {"priority": ["Ensure this value is greater than or equal to 0."]},
        ),
    ],
)
def test_a_server_with_bad_fields_is_refused(client, fields, errors):
    tree = make_tree(ACME=None)
    make_server("central", client=tree["ACME"])

    page = client.post(address(MobileServer, "add"), server_form(tree["ACME"], **fields))

    assert errors_of(page) == errors
    assert MobileServer.objects.count() == 1


def test_a_tab_that_names_an_organization_of_another_client_is_refused(client):
    tree = make_tree(ACME=None, OTHER=None, ROME="OTHER")

    page = client.post(address(MobileServer, "add"), server_form(tree["ACME"], [tree["ROME"]]))

    assert list(errors_of(page).values()) == [["ROME does not belong to the client ACME."]]
    assert not MobileServer.objects.exists()


def test_a_tab_that_names_something_twice_is_refused(client):
    tree = make_tree(ACME=None, OSLO="ACME")

    page = client.post(address(MobileServer, "add"), server_form(tree["ACME"], [tree["OSLO"], tree["OSLO"]]))

    assert page.status_code == 200
    assert not MobileServer.objects.exists()


def test_rows_a_limited_administrator_cannot_see_survive_his_saving(client):
    tree = make_tree(ACME=None, NORTH="ACME", OSLO="NORTH", SOUTH="ACME", ROME="SOUTH")
    server = make_server("both", client=tree["ACME"], organizations=[tree["OSLO"], tree["ROME"]])
    limited = make_user("limited", role=SYSTEM_ADMINISTRATOR, is_staff=True)
    limited.organizations.set([tree["NORTH"]])
    client.force_login(limited)

    client.post(address(MobileServer, "change", server.pk), server_form(tree["ACME"], [], name="both", key="both"))

    assert [row.organization.code for row in server.organizations_by_server.all()] == ["OSLO", "ROME"]


def test_the_effective_result_counts_stores_and_services(client):
    tree = make_tree(ACME=None, NORTH="ACME", OSLO="NORTH", BERGEN="NORTH")
    make_service("org.example.Order")
    server = make_server("regional", client=tree["ACME"], organizations=[tree["NORTH"]])

    page = client.get(address(MobileServer, "change", server.pk)).content.decode()

    assert "Serves <strong>2</strong> stores" in page
    assert "Provides <strong>1</strong> service<" in page


# --- Services and modules ------------------------------------------------------------------------


def test_of_an_installed_service_only_timeout_and_active_change(client):
    service = make_service("org.example.Order", default_timeout_s=5)

    page = client.get(address(MobileService, "change", service.pk))
    client.post(
        address(MobileService, "change", service.pk), {"name": "hacked", "default_timeout_s": "9", "timeout_s": "7"}
    )

    service.refresh_from_db()
    assert list(page.context["adminform"].form.fields) == ["timeout_s", "is_active"]
    assert (service.name, service.default_timeout_s, service.timeout_s, service.is_active) == (
        "org.example.Order",
        5,
        7,
        False,
    )


def test_an_installed_service_is_not_deleted(client):
    service = make_service("org.example.Order")

    page = client.post(address(MobileService, "delete", service.pk), {"post": "yes"}, follow=True)

    assert messages_of(page) == ["org.example.pos is not in development: its services come with the module's manifest."]
    assert MobileService.objects.exists()


def test_a_transactional_ping_is_refused(client):
    module = make_module(in_development=True)

    page = client.post(
        address(MobileService, "add"),
        {"module": module.pk, "name": "p", "routing_type": "ping", "is_transactional": "on", "is_active": "on"},
    )

    assert errors_of(page) == {"is_transactional": ["A ping service cannot be transactional."]}


STANDARD = next(Path("services/manifests").glob("*.json"))


def test_a_manifest_is_previewed_before_it_is_installed(client):
    upload = SimpleUploadedFile("pos.json", STANDARD.read_bytes(), "application/json")

    preview = client.post(reverse("admin:services_module_manifest"), {"file": upload})
    before = Module.objects.count()
    installed = client.post(
        reverse("admin:services_module_manifest"), {"text": preview.context["text"], "confirmed": "yes"}, follow=True
    )

    assert before == 0
    assert messages_of(installed) == preview.context["lines"]
    assert Module.objects.count() == 1


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]", b'{"name": 3}'])
def test_a_bad_manifest_is_refused_on_the_page(client, content):
    page = client.post(reverse("admin:services_module_manifest"), {"file": SimpleUploadedFile("m.json", content)})

    assert page.status_code == 200
    assert page.context.get("refused") or page.context["form"].errors
    assert not Module.objects.exists()


# --- Preferences ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value", "errors"),
    [
        ("ping_interval_ms", "5", {"value": ["Request Router Ping Time Interval must be at least 60000 ms."]}),
        (
            "ping_interval_ms",
            "soon",
            {"value": ["Request Router Ping Time Interval must be a whole number of milliseconds."]},
        ),
    ],
)
def test_a_preference_out_of_its_bounds_is_refused(client, key, value, errors):
    page = client.post(address(PreferenceValue, "add"), {"key": key, "value": value, "organization": ""})

    assert errors_of(page) == errors
    assert not PreferenceValue.objects.exists()


def test_multi_server_is_switched_for_the_whole_system_only(client):
    tree = make_tree(ACME=None)

    page = client.post(
        address(PreferenceValue, "add"),
        {"key": "multi_server_enabled", "value": "Y", "organization": tree["ACME"].pk},
    )

    assert "organization" in errors_of(page)
    assert not PreferenceValue.objects.exists()


# --- Terminals, tokens, passwords ----------------------------------------------------------------


def test_an_activation_code_is_shown_once_and_never_cached(client):
    tree = make_tree(ACME=None, OSLO="ACME")
    terminal = make_terminal("OSLO-1", tree["OSLO"])

    page = client.post(address(Terminal, "activation_code", terminal.pk), {"valid_for_s": "3600"})

    issued = page.context["issued"]
    assert issued.code in page.content.decode()
    assert "no-store" in page["Cache-Control"]
    assert terminal.activation_codes.get().expires_at == issued.expires_at


def test_an_unknown_validity_of_a_code_is_refused(client):
    tree = make_tree(ACME=None, OSLO="ACME")
    terminal = make_terminal("OSLO-1", tree["OSLO"])

    page = client.post(address(Terminal, "activation_code", terminal.pk), {"valid_for_s": "1"})

    assert list(page.context["form"].errors) == ["valid_for_s"]
    assert not terminal.activation_codes.exists()


def test_a_store_operator_handles_the_terminals_of_his_stores_only(client):
    tree = make_tree(ACME=None, OSLO="ACME", ROME="ACME")
    own, foreign = make_terminal("OSLO-1", tree["OSLO"]), make_terminal("ROME-1", tree["ROME"])
    operator = make_user("operator", role=STORE_OPERATOR, is_staff=True)
    operator.organizations.add(tree["OSLO"])
    client.force_login(operator)

    statuses = {
        (terminal.search_key, view): client.post(
            address(Terminal, view, terminal.pk), {"valid_for_s": "3600"}
        ).status_code
        for terminal in (own, foreign)
        for view in ("activation_code", "revoke")
    }

    assert statuses == {
        ("OSLO-1", "activation_code"): 200,
        ("OSLO-1", "revoke"): 302,
        ("ROME-1", "activation_code"): 404,
        ("ROME-1", "revoke"): 404,
    }


def test_revoking_asks_first(client):
    tree = make_tree(ACME=None, OSLO="ACME")
    terminal = make_terminal("OSLO-1", tree["OSLO"], activated_at=timezone.now())
    revoke = address(Terminal, "revoke", terminal.pk)

    client.get(revoke)
    asked = Terminal.objects.get().activated_at
    client.post(revoke)

    assert asked is not None
    assert Terminal.objects.get().activated_at is None


def test_a_user_token_is_shown_once(client, administrator):
    page = client.post(address(UserToken, "add"), {"user": administrator.pk, "name": "export", "is_read_only": "on"})

    token = UserToken.objects.get()
    assert page.context["text"].startswith(f"{token}.")
    assert "no-store" in page["Cache-Control"]
    assert page.context["text"] not in client.get(address(UserToken, "change", token.pk)).content.decode()


def test_a_system_administrator_makes_no_token_for_a_superuser_and_no_superuser(client, administrator):
    user = make_user("sysadmin", role=SYSTEM_ADMINISTRATOR, is_staff=True)
    client.force_login(user)

    page = client.post(address(UserToken, "add"), {"user": administrator.pk})
    changed = client.post(reverse("admin:accounts_user_change", args=[administrator.pk]), {"username": "mine"})
    password = client.get(reverse("admin:auth_user_password_change", args=[administrator.pk]))
    client.post(
        reverse("admin:accounts_user_change", args=[user.pk]),
        {"username": "sysadmin", "is_active": "on", "is_staff": "on", "is_superuser": "on"},
    )

    user.refresh_from_db()
    assert list(errors_of(page)) == ["user"]
    assert (changed.status_code, password.status_code) == (403, 403)
    assert not user.is_superuser


def test_a_user_is_made_with_a_role_and_a_password_to_change(client):
    form = client.get(reverse("admin:accounts_user_add")).context["adminform"].form
    [operator] = [pk for pk, name in form.fields["groups"].choices if name == STORE_OPERATOR]
    data = {
        "username": "oslo",
        "usable_password": "true",
        "password1": "staple-4-battery",
        "password2": "staple-4-battery",
        "is_staff": "on",
        "must_change_password": "on",
        "groups": [str(operator)],
    }

    answer = client.post(reverse("admin:accounts_user_add"), data)

    user = User.objects.get(username="oslo")
    assert answer.status_code == 302
    assert (user.is_staff, user.must_change_password, user.check_password("staple-4-battery")) == (True, True, True)
    assert [group.name for group in user.groups.all()] == [STORE_OPERATOR]


def test_too_many_wrong_passwords_are_answered_with_a_page_that_says_when_to_come_back(client):
    make_user("victim", is_staff=True)
    client.logout()

    answers = [
        client.post(reverse("admin:login"), {"username": "victim", "password": f"wrong-{number}"})
        for number in range(5)
    ]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 200, 429]
    assert answers[-1]["Retry-After"] == "900"
    assert "Wait 15 minutes" in answers[-1].content.decode()


@pytest.mark.parametrize("path", ["/admin/nowhere/", "/nowhere", "/admin/terminals/terminal/abc/change/"])
def test_a_page_that_is_not_there_says_so_in_words(client, path):
    answer = client.get(path)

    assert (answer.status_code, "There is no such page" in answer.content.decode()) == (404, True)


def test_a_password_that_must_be_changed_opens_nothing_else(client):
    user = make_user("agent", role=STORE_OPERATOR, is_staff=True, must_change_password=True)
    client.force_login(user)

    window = client.get(address(Terminal, "changelist"))
    api = client.get("/api/v1/terminals/")
    change = {
        "old_password": "correct-horse-9",
        "new_password1": "staple-4-battery",
        "new_password2": "staple-4-battery",
    }
    client.post(reverse("admin:password_change"), change)

    user.refresh_from_db()
    assert (window.status_code, window["Location"]) == (302, reverse("admin:password_change"))
    assert (api.status_code, api.json()["type"]) == (403, "/problems/password-change-required")
    assert not user.must_change_password
    assert client.get(address(Terminal, "changelist")).status_code == 200


def test_a_password_that_must_be_changed_is_not_changed_to_itself(client):
    user = make_user("agent", role=STORE_OPERATOR, is_staff=True, must_change_password=True)
    client.force_login(user)
    same = "correct-horse-9"

    page = client.post(
        reverse("admin:password_change"), {"old_password": same, "new_password1": same, "new_password2": same}
    )

    user.refresh_from_db()
    assert "choose another" in page.context["form"].errors["new_password1"][0]
    assert user.must_change_password


# --- Import --------------------------------------------------------------------------------------


def import_csv(client, model, text):
    page = client.post(
        address(model, "import"), {"import_file": SimpleUploadedFile("rows.csv", text.encode()), "format": "0"}
    )
    assert page.status_code == 200
    if "confirm_form" not in page.context:
        return page, None
    confirmed = client.post(
        reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_process_import"),
        page.context["confirm_form"].initial,
        follow=True,
    )
    return page, confirmed


def test_organizations_are_imported_through_the_tree(client):
    make_tree(ACME=None, NORTH="ACME", OSLO="NORTH", SOUTH="ACME", PISA="SOUTH")

    import_csv(
        client,
        Organization,
        "code,name,kind,parent,is_active\nROME,Roma,store,SOUTH,true\nOSLO,Oslo 2,store,SOUTH,no\n",
    )

    assert list(Organization.objects.stores().order_by("code").values_list("path", "is_active")) == [
        ("Acme / South / Oslo 2", False),
        ("Acme / South / Pisa", True),
        ("Acme / South / Roma", True),
    ]


def test_servers_are_imported_with_their_tabs_and_exported_alike(client):
    tree = make_tree(ACME=None, OSLO="ACME", ROME="ACME")
    make_service("org.example.Order")
    text = (
        "client,key,name,description,server_type,url,priority,all_organizations,all_services,defined_services,"
        "organizations,services,is_active,ping_url,probe_interval_s,probe_timeout_s,expected_status\r\n"
        "ACME,box,Box,,store,https://box.example,5,false,false,only,OSLO !ROME,org.example.Order,true,,60,7,204\r\n"
    )

    import_csv(client, MobileServer, text)
    exported = client.post(address(MobileServer, "export"), {"format": "0", "resource": ""}).content.decode()

    server = MobileServer.objects.get()
    assert exported == text
    assert list(server.organizations_by_server.values_list("organization__code", "is_active")) == [
        ("OSLO", True),
        ("ROME", False),
    ]
    assert tree["OSLO"].servers_by_organization.count() == 1


def test_an_import_with_one_bad_row_imports_nothing_and_names_the_row(client):
    make_tree(ACME=None, OSLO="ACME")

    page, confirmed = import_csv(
        client,
        Terminal,
        "search_key,name,organization,is_active\nT-1,One,OSLO,true\nT 2,Two,OSLO,true\nT-3,Three,NOWHERE,true\n",
    )

    reasons = {row.number: row.error.message_dict for row in page.context["result"].invalid_rows}
    assert confirmed is None
    assert sorted(reasons) == [2, 3]
    assert "There is no organization 'NOWHERE'." in str(reasons[3])
    assert not Terminal.objects.exists()


def test_a_store_operator_imports_into_his_stores_only(client):
    tree = make_tree(ACME=None, OSLO="ACME", ROME="ACME")
    make_terminal("ROME-1", tree["ROME"])
    operator = make_user("operator", role=STORE_OPERATOR, is_staff=True)
    operator.organizations.add(tree["OSLO"])
    client.force_login(operator)

    foreign, _ = import_csv(client, Terminal, "search_key,name,organization,is_active\nT-1,One,ROME,true\n")
    taken, _ = import_csv(client, Terminal, "search_key,name,organization,is_active\nROME-1,One,OSLO,true\n")
    import_csv(client, Terminal, "search_key,name,organization,is_active\nOSLO-1,One,OSLO,true\n")

    reasons = [str(page.context["result"].invalid_rows[0].error) for page in (foreign, taken)]
    assert "There is no organization" in reasons[0]
    assert "already exists" in reasons[1]
    assert dict(Terminal.objects.values_list("search_key", "organization__code")) == {
        "OSLO-1": "OSLO",
        "ROME-1": "ROME",
    }
    assert client.get(address(Organization, "import")).status_code == 403


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "\x00", "search_key\n", "search_key,extra\nT-1,2\n"])
def test_a_file_that_holds_no_such_rows_is_refused(client, text):
    _, confirmed = import_csv(client, Terminal, text)

    assert confirmed is None
    assert not Terminal.objects.exists()


def test_an_import_whose_file_is_gone_says_so(client):
    answer = client.post(
        reverse("admin:terminals_terminal_process_import"),
        {"import_file_name": "gone", "original_file_name": "x.csv", "format": "0", "resource": ""},
        follow=True,
    )

    assert messages_of(answer) == ["The uploaded file is no longer there: choose it again."]


def test_a_confirmation_reaches_no_file_but_uploaded_ones(client, tmp_path, monkeypatch):
    foreign = tmp_path / "foreign"
    foreign.write_text("search_key,name,organization,is_active\nT-1,One,OSLO,true\n")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    make_tree(ACME=None, OSLO="ACME")

    client.post(
        reverse("admin:terminals_terminal_process_import"),
        {"import_file_name": "foreign", "original_file_name": "x.csv", "format": "0", "resource": ""},
    )

    assert (foreign.exists(), Terminal.objects.exists()) == (True, False)


def test_a_confirmation_of_an_unknown_format_says_so(client):
    answer = client.post(
        reverse("admin:terminals_terminal_process_import"),
        {"import_file_name": "0" * 32, "original_file_name": "x.csv", "format": "7", "resource": ""},
        follow=True,
    )

    assert "choose it again" in answer.content.decode()


@pytest.mark.parametrize(
    ("text", "reason"), [("a" * (4 * 2**20 + 1), "at most 4 MiB"), ("a\n" * 5001, "at most 5000 rows")]
)
def test_a_file_too_large_for_a_preview_is_refused(client, text, reason):
    page, confirmed = import_csv(client, Terminal, text)

    assert reason in page.context["form"].errors["import_file"][0]
    assert confirmed is None


def test_an_export_holds_no_formula_and_reads_back_as_it_was(client):
    names = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "'=1", "'quoted'", "plain"]
    tree = make_tree(ACME=None, OSLO="ACME")
    for number, name in enumerate(names):
        Terminal.objects.create(search_key=f"T-{number}", name=name, organization=tree["OSLO"])

    exported = client.post(address(Terminal, "export"), {"format": "0", "resource": ""}).content.decode()
    Terminal.objects.update(name="lost")
    import_csv(client, Terminal, exported)

    cells = [line.split(",")[1] for line in exported.splitlines()[1:]]
    assert cells == ["'=1+1", "'+1", "'-1", "'@SUM(A1)", "'\t=1", "''=1", "''quoted'", "plain"]
    assert list(Terminal.objects.order_by("search_key").values_list("name", flat=True)) == names


@pytest.mark.parametrize("value", ["x", "\0", "9" * 40, "[]", "' OR 1=1--"])
def test_what_is_no_id_breaks_no_window(client, value):
    tree = make_tree(ACME=None, OSLO="ACME")
    children = reverse("admin:organizations_organization_children", args=[tree["ACME"].pk])

    statuses = [
        client.get(address(Organization, "add"), {"parent": value}).status_code,
        client.get(address(User, "add"), {"organizations": value, "groups": value}).status_code,
        client.get(children, {"offset": value}).status_code,
        client.post(
            address(Organization, "changelist"),
            {"action": "delete_selected", "_selected_action": value, "post": "yes"},
        ).status_code,
    ]

    ignored = 400 if value == "\0" else 200
    assert statuses == [ignored, ignored, ignored, 400]


@pytest.mark.parametrize(("model", "name"), [(Organization, "kind"), (MobileServer, "client"), (Terminal, "q")])
def test_a_list_is_not_filtered_by_what_no_column_holds(client, model, name):
    assert client.get(address(model, "changelist"), {name: "\0"}).status_code == 400


def test_nothing_is_searched_by_a_nul_or_by_a_year_beyond_the_calendar(client):
    search = client.get(reverse("admin:search"), {"s": "\0"})
    year = client.get(address(Event, "changelist"), {"at__year": "9" * 30})

    assert (search.status_code, year.status_code, year.url) == (400, 302, f"{address(Event, 'changelist')}?e=1")
