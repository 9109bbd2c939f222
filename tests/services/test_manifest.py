import json
from collections import Counter

import pytest
from django.core.management import CommandError, call_command

from backoffice.refusals import FieldError
from events.models import Event
from services.manifest import (
    ManifestConflict,
    ManifestInvalid,
    install_manifest,
    parse_manifest,
    standard_manifests,
    version_order,
)
from services.models import MobileService, Module
from tests.factories import make_organization, make_server, make_service

ORDERS = {"name": "org.example.Orders", "routing_type": "failover", "is_transactional": True, "default_timeout_s": 10}
QUERY = {"name": "org.example.Query", "description": "Reads.", "routing_type": "failover"}


def manifest(*services, version="1.0", name="org.example"):
    return {"format": 1, "module": {"name": name, "version": version}, "services": list(services)}


def errors_of(data):
    with pytest.raises(ManifestInvalid) as caught:
        parse_manifest(data)
    return [(error.pointer, error.code) for error in caught.value.errors]


def test_parse_names_every_error_at_once():
    data = {
        "format": 2,
        "module": {"name": "with blank", "version": "one", "colour": "red"},
        "services": [
            {"name": "a", "routing_type": "failover", "default_timeout_s": 0},
            {"name": "a", "routing_type": "ping", "is_transactional": True},
            {"routing_type": "unicast", "is_transactional": "yes", "default_timeout_s": True},
            "b",
            {},
            {"name": "x" * 256, "routing_type": "ping", "description": "two\nlines"},
        ],
    }

    errors = errors_of(data)

    assert errors == [
        ("/format", "unknown_format"),
        ("/module/colour", "unknown"),
        ("/module/name", "invalid_name"),
        ("/module/version", "invalid_version"),
        ("/services/0/default_timeout_s", "invalid"),
        ("/services/1/is_transactional", "ping_transactional"),
        ("/services/1/name", "duplicate"),
        ("/services/2/routing_type", "invalid_choice"),
        ("/services/2/is_transactional", "invalid"),
        ("/services/2/default_timeout_s", "invalid"),
        ("/services/2/name", "required"),
        ("/services/3", "invalid"),
        ("/services/4/routing_type", "invalid_choice"),
        ("/services/4/name", "required"),
        ("/services/5/name", "max_length"),
        ("/services/5/description", "invalid"),
    ]


@pytest.mark.parametrize(
    ("data", "errors"),
    [
        (b"\xff\xfe", [("", "not_json")]),
        ("{", [("", "not_json")]),
        ('{"format": 1, "format": 1}', [("", "not_json")]),
        ('{"format": NaN}', [("", "not_json")]),
        ("[" * 100_000, [("", "not_json")]),
        ("9" * 5_000, [("", "not_json")]),
        ("[]", [("", "invalid")]),
        ("{}", [("/format", "unknown_format"), ("/module", "required"), ("/services", "required")]),
        (manifest(), [("/services", "required")]),
        (manifest({**QUERY, "name": "nul\0"}), [("/services/0/name", "invalid")]),
    ],
    ids=["not UTF-8", "cut off", "member twice", "NaN", "deep", "huge number", "a list", "empty", "no services", "NUL"],
)
def test_parse_refuses(data, errors):
    assert errors_of(data) == errors


def test_version_order_compares_numbers_and_suffixes():
    versions = ["1.0-beta", "1.0-rc2", "1.0-rc10", "1.0", "1.0.0.0.1", "1.2", "1.10", "RR"]

    assert sorted(versions[:-1], key=version_order) == versions[:-1]
    assert version_order("1.2") == version_order("1.2.0")


@pytest.mark.django_db
def test_install_adds_a_new_module_with_its_services():
    result = install_manifest(json.dumps(manifest(ORDERS, QUERY)).encode())

    assert result.lines == ["org.example 1.0: new, with 2 services."]
    rows = MobileService.objects.values_list("module__name", "name", "description", "routing_type", "is_transactional")
    assert set(rows) == {
        ("org.example", "org.example.Orders", "", "failover", True),
        ("org.example", "org.example.Query", "Reads.", "failover", False),
    }
    event = Event.objects.get()
    assert (event.kind, event.object_key, event.data["created"]) == ("module-installed", "org.example", 2)


@pytest.mark.django_db
def test_newer_version_updates_and_says_what_it_changed():
    install_manifest(manifest(ORDERS, QUERY, {"name": "org.example.Old", "routing_type": "ping"}))
    MobileService.objects.filter(name="org.example.Orders").update(timeout_s=33)
    MobileService.objects.filter(name="org.example.Query").update(is_active=False)
    newer = manifest(
        {**ORDERS, "default_timeout_s": 20},
        {**QUERY, "description": "Reads more.", "routing_type": "broadcast"},
        {"name": "org.example.New", "routing_type": "ping"},
        version="1.1",
    )

    result = install_manifest(newer)

    assert result.lines == [
        "org.example: 1.0 → 1.1.",
        "org.example.New: new.",
        "org.example.Orders: default timeout (s) 10 → 20.",
        "org.example.Query: description changed; routing type fail over → broadcast.",
        "org.example.Old: deleted, it is no longer part of the module.",
        "org.example.Query: stays inactive.",
    ]
    rows = MobileService.objects.values_list("name", "default_timeout_s", "timeout_s", "is_active")
    assert list(rows) == [
        ("org.example.New", None, None, True),
        ("org.example.Orders", 20, 33, True),
        ("org.example.Query", None, None, False),
    ]


@pytest.mark.django_db
def test_service_that_left_its_module_stays_inactive_while_servers_name_it():
    install_manifest(manifest(ORDERS, QUERY))
    query = MobileService.objects.get(name="org.example.Query")
    make_server(client=make_organization("ACME"), services=[query])

    result = install_manifest(manifest(ORDERS, version="1.1"))

    assert (result.withdrawn, result.deleted) == (["org.example.Query"], [])
    query.refresh_from_db()
    assert not query.is_active


@pytest.mark.django_db
def test_same_version_changes_nothing_and_says_when_it_differs():
    install_manifest(manifest(ORDERS))

    same = install_manifest(manifest(ORDERS, version="1.0.0"))
    differing = install_manifest(manifest(ORDERS, QUERY))

    assert same.lines == ["org.example 1.0 is already installed; nothing was changed."]
    assert len(differing.lines) == 2
    assert MobileService.objects.count() == Event.objects.count() == 1


@pytest.mark.django_db
def test_older_version_is_refused():
    install_manifest(manifest(ORDERS, version="1.10"))

    with pytest.raises(ManifestConflict) as caught:
        install_manifest(manifest(QUERY, version="1.9"))

    message = "org.example 1.10 is installed, which is newer than 1.9."
    assert caught.value.errors == (FieldError("/module/version", "older", message),)
    assert Module.objects.get().version == "1.10"


@pytest.mark.django_db
def test_services_of_other_modules_are_refused_naming_each():
    make_service("org.example.Orders")
    make_service("org.example.Query")

    with pytest.raises(ManifestConflict) as caught:
        install_manifest(manifest(QUERY, ORDERS))

    assert [error.pointer for error in caught.value.errors] == ["/services/1/name", "/services/0/name"]
    assert not Module.objects.filter(name="org.example").exists()


@pytest.mark.django_db
def test_dry_run_says_the_same_and_writes_nothing():
    result = install_manifest(manifest(ORDERS, QUERY), dry_run=True)

    assert result.lines == ["org.example 1.0: new, with 2 services."]
    assert (Module.objects.count(), MobileService.objects.count(), Event.objects.count()) == (0, 0, 0)


@pytest.mark.django_db
def test_standard_manifests_hold_the_standard_services():
    for path in standard_manifests():
        install_manifest(path.read_bytes())

    counts = Counter(MobileService.objects.values_list("module__name", "routing_type", "is_transactional").iterator())
    assert counts == {
        ("org.openbravo.mobile.core", "failover", False): 12,
        ("org.openbravo.mobile.core", "broadcast", False): 1,
        ("org.openbravo.mobile.core", "ping", False): 2,
        ("org.openbravo.retail.posterminal", "failover", False): 61,
        ("org.openbravo.retail.posterminal", "failover", True): 7,
    }


@pytest.mark.django_db
def test_command_prints_what_changed(tmp_path, capsys):
    file = tmp_path / "manifest.json"
    file.write_text(json.dumps(manifest(ORDERS)))

    call_command("install_manifest", str(file))
    call_command("install_manifest", str(file), "--dry-run")

    assert capsys.readouterr().out.splitlines() == [
        "org.example 1.0: new, with 1 service.",
        "org.example 1.0 is already installed; nothing was changed.",
        "Dry run: nothing was written.",
    ]


@pytest.mark.django_db
def test_command_names_every_error_and_a_missing_file(tmp_path):
    file = tmp_path / "manifest.json"
    file.write_text(json.dumps(manifest({**ORDERS, "routing_type": "x"}, {**QUERY, "default_timeout_s": -1})))

    with pytest.raises(CommandError) as invalid:
        call_command("install_manifest", str(file))
    with pytest.raises(CommandError) as missing:
        call_command("install_manifest", str(tmp_path / "none.json"))

    assert str(invalid.value).splitlines() == [
        f"{file}: The manifest has 2 errors.",
        "/services/0/routing_type: Use one of failover, broadcast, ping.",
        "/services/1/default_timeout_s: Use null or whole seconds from 1 to 86400.",
    ]
    assert str(missing.value) == f"{tmp_path / 'none.json'} cannot be read: No such file or directory."
