"""Who may call what: one table of callers and operations, tested whole."""

import json
import re
from datetime import timedelta
from functools import cache

import pytest
from django.db import transaction
from django.test import Client
from django.utils import timezone
from drf_spectacular.generators import SchemaGenerator

from accounts.scope import READ_ONLY, STORE_OPERATOR, SYSTEM_ADMINISTRATOR
from servers.agent_tokens import issue_agent_token
from terminals.activation import create_activation_code
from terminals.tokens import issue_token
from tests.backoffice.world import make_world
from tests.factories import (
    make_admin,
    make_user,
    make_user_token,
)

pytestmark = pytest.mark.django_db

CALLERS = (
    "anonymous",
    "terminal",  # of the store OSLO
    "agent",  # of the server LyonBox
    "reading",  # a read-only token of a superuser
    "administrator",
    "operator",  # of the region that OSLO lies in
    "stranger",  # an operator of another client's store
    "reader",
    "nobody",  # a user without any role
    "session",  # a superuser's browser session that sends no CSRF token
)
# Every operation of the OpenAPI document, and the status each caller gets.
TABLE = """
                                 anon term agnt read admn oper stra rder none sess
organizations_list               401  403  403  200  200  200  200  200  403  200
organizations_create             401  403  403  403  201  403  403  403  403  403
organizations_retrieve           401  403  403  200  200  200  404  200  403  200
organizations_update             401  403  403  403  200  200  404  403  403  403
organizations_partial_update     401  403  403  403  200  200  404  403  403  403
organizations_destroy            401  403  403  403  204  403  403  403  403  403
modules_list                     401  403  403  200  200  200  200  200  403  200
modules_create                   401  403  403  403  201  403  403  403  403  403
modules_retrieve                 401  403  403  200  200  200  200  200  403  200
modules_update                   401  403  403  403  200  403  403  403  403  403
modules_partial_update           401  403  403  403  200  403  403  403  403  403
modules_destroy                  401  403  403  403  204  403  403  403  403  403
modules_install_create           401  403  403  403  200  403  403  403  403  403
services_list                    401  403  403  200  200  200  200  200  403  200
services_create                  401  403  403  403  201  403  403  403  403  403
services_retrieve                401  403  403  200  200  200  200  200  403  200
services_update                  401  403  403  403  200  403  403  403  403  403
services_partial_update          401  403  403  403  200  403  403  403  403  403
services_destroy                 401  403  403  403  204  403  403  403  403  403
preferences_list                 401  403  403  200  200  200  200  200  403  200
preferences_create               401  403  403  403  201  201  400  403  403  403
preferences_retrieve             401  403  403  200  200  200  404  200  403  200
preferences_update               401  403  403  403  200  200  404  403  403  403
preferences_partial_update       401  403  403  403  200  200  404  403  403  403
preferences_destroy              401  403  403  403  204  204  404  403  403  403
servers_list                     401  403  403  200  200  200  200  200  403  200
servers_create                   401  403  403  403  201  403  403  403  403  403
servers_retrieve                 401  403  403  200  200  200  404  200  403  200
servers_update                   401  403  403  403  200  403  403  403  403  403
servers_partial_update           401  403  403  403  200  403  403  403  403  403
servers_destroy                  401  403  403  403  204  403  403  403  403  403
servers_agent_token_create       401  403  403  403  201  403  403  403  403  403
servers_agent_token_destroy      401  403  403  403  204  403  403  403  403  403
servers_uptime_retrieve          401  403  403  200  200  200  404  200  403  200
status_transitions_list          401  403  403  200  200  200  200  200  403  200
status_transitions_retrieve      401  403  403  200  200  200  404  200  403  200
terminals_list                   401  403  403  200  200  200  200  200  403  200
terminals_create                 401  403  403  403  201  201  400  403  403  403
terminals_retrieve               401  403  403  200  200  200  404  200  403  200
terminals_update                 401  403  403  403  200  200  404  403  403  403
terminals_partial_update         401  403  403  403  200  200  404  403  403  403
terminals_destroy                401  403  403  403  204  204  404  403  403  403
terminals_activation_code_create 401  403  403  403  201  201  404  403  403  403
terminals_revoke_create          401  403  403  403  200  200  404  403  403  403
incidents_list                   401  403  403  200  200  200  200  200  403  200
incidents_retrieve               401  403  403  200  200  200  404  200  403  200
maintenance_list                 401  403  403  200  200  200  200  200  403  200
maintenance_create               401  403  403  403  201  201  400  403  403  403
maintenance_retrieve             401  403  403  200  200  200  404  200  403  200
maintenance_update               401  403  403  403  200  200  404  403  403  403
maintenance_partial_update       401  403  403  403  200  200  404  403  403  403
maintenance_destroy              401  403  403  403  204  403  403  403  403  403
routing_explain                  401  403  403  200  200  200  404  200  403  200
routing_checks                   401  403  403  200  200  200  200  200  403  200
booster_nodes_retrieve           401  403  403  200  200  403  403  200  403  200
license_retrieve                 401  403  403  200  403  403  403  403  403  200
license_upload                   401  403  403  403  403  403  403  403  403  403
notice_channels_list             401  403  403  200  200  403  403  200  403  200
notice_channels_create           401  403  403  403  201  403  403  403  403  403
notice_channels_retrieve         401  403  403  200  200  403  403  200  403  200
notice_channels_update           401  403  403  403  200  403  403  403  403  403
notice_channels_partial_update   401  403  403  403  200  403  403  403  403  403
notice_channels_destroy          401  403  403  403  204  403  403  403  403  403
notice_channels_secret_create    401  403  403  403  400  403  403  403  403  403
notice_channels_test_create      401  403  403  403  200  403  403  403  403  403
notices_list                     401  403  403  200  200  403  403  200  403  200
notices_retrieve                 401  403  403  200  200  403  403  200  403  200
notice_deliveries_list           401  403  403  200  200  403  403  200  403  200
notice_deliveries_retrieve       401  403  403  200  200  403  403  200  403  200
notice_deliveries_retry_create   401  403  403  403  200  403  403  403  403  403
patches_list                     401  403  403  200  200  403  403  200  403  200
patches_create                   401  403  403  403  415  403  403  403  403  403
patches_retrieve                 401  403  403  200  200  403  403  200  403  200
patches_destroy                  401  403  403  403  409  403  403  403  403  403
roll_outs_list                   401  403  403  200  200  403  403  200  403  200
roll_outs_create                 401  403  403  403  409  403  403  403  403  403
roll_outs_retrieve               401  403  403  200  200  403  403  200  403  200
roll_outs_pause_create           401  403  403  403  200  403  403  403  403  403
roll_outs_resume_create          401  403  403  403  409  403  403  403  403  403
roll_outs_cancel_create          401  403  403  403  200  403  403  403  403  403
roll_outs_skip_create            401  403  403  403  200  403  403  403  403  403
roll_outs_roll_back_create       401  403  403  403  409  403  403  403  403  403
version_overview_list            401  403  403  200  200  200  200  200  403  200
terminal_activate_create         201  201  201  201  201  201  201  201  201  201
terminal_configuration_retrieve  401  200  403  403  403  403  403  403  403  401
terminal_events_retrieve         401  200  403  403  403  403  403  403  403  401
terminal_status_retrieve         401  200  403  403  403  403  403  403  403  401
terminal_webpos_retrieve         401  200  403  403  403  403  403  403  403  401
terminal_token_create            401  201  403  403  403  403  403  403  403  401
terminal_revoke_create           401  204  403  403  403  403  403  403  403  401
terminal_heartbeat_create        401  200  403  403  403  403  403  403  403  401
servers_status_create            200  200  200  200  200  200  200  200  200  200
agent_heartbeat_create           401  403  200  403  403  403  403  403  403  401
agent_token_create               401  403  201  403  403  403  403  403  403  401
agent_documents_retrieve         401  403  200  403  403  403  403  403  403  401
agent_keys_retrieve              401  403  200  403  403  403  403  403  403  401
agent_keys_create                401  403  201  403  403  403  403  403  403  401
agent_revocations_create         401  403  204  403  403  403  403  403  403  401
client_keys_retrieve             200  200  200  200  200  200  200  200  200  200
agent_order_retrieve             401  403  204  403  403  403  403  403  403  401
agent_order_create               401  403  404  403  403  403  403  403  403  401
agent_patches_create             401  403  415  403  403  403  403  403  403  401
agent_patches_file_retrieve      401  403  404  403  403  403  403  403  403  401
"""
EXPECTED = {
    name: dict(zip(CALLERS, map(int, statuses), strict=True))
    for name, *statuses in (line.split() for line in TABLE.strip().splitlines()[1:])
}


BODIES = {
    "organizations": {"code": "EMPTY", "name": "New", "kind": "store", "parent": "NORTH"},
    "modules": {"name": "org.example.empty", "version": "1.0"},
    "services": {"name": "org.example.draft.Save", "module": "org.example.draft", "timeout_s": 9},
    "preferences": {"key": "request_retries", "organization": "OSLO", "value": "2"},
    "servers": {
        "client": "ACME",
        "name": "LyonBox",
        "key": "lyonbox",
        "server_type": "main",
        "url": "https://l.example",
    },
    "terminals": {"search_key": "OSLO-1", "name": "Till", "organization": "OSLO"},
    "maintenance": {
        "organization": "OSLO",
        "starts_at": "2026-03-01T00:00:00Z",
        "ends_at": "2026-03-01T02:00:00Z",
        "reason": "New disks",
    },
    "notice-channels": {"name": "office", "kind": "email", "recipients": ["ops@acme.example"]},
    "roll-outs": {"patch": "0" * 64},
}
NEW = {
    "organizations": {"code": "NEW", "kind": "store"},
    "modules": {"name": "org.example.new"},
    "services": {"name": "org.example.draft.New"},
    "preferences": {"key": "request_timeout_s"},
    "servers": {"name": "New", "key": "new"},
    "terminals": {"search_key": "NEW"},
    "maintenance": {},
    "notice-channels": {"name": "new"},
    "roll-outs": {},
}
DEVICE_BODIES = {
    "agent_heartbeat_create": {
        "software_version": "1",
        "modules": [],
        "ready": True,
        "pending": 0,
        "host_name": "oslo",
        "os": "Debian",
        "observed": [],
    },
    "terminal_heartbeat_create": {"queue_length": 0, "software": "1", "observed": []},
    "servers_status_create": {"serverKey": "lyonbox"},
    "agent_keys_create": {"jwk": {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}},
    "agent_revocations_create": {"jti": "a1", "expires_at": "2100-01-01T00:00:00Z"},
    "agent_order_create": {"state": "downloading"},
    "agent_patches_file_retrieve": {},
    "roll_outs_skip_create": {"server": "LyonBox"},
}
MANIFEST = {
    "format": 1,
    "module": {"name": "org.example.m", "version": "1"},
    "services": [{"name": "org.example.m.A", "routing_type": "ping"}],
}


def request_for(operation, method, path, objects, code):
    """Return path and body of a request that only rights can refuse."""
    collection = path.split("/")[3]
    query = "?terminal=OSLO-1&request=org.example.draft.Save" if operation == "routing_explain" else ""
    if operation == "terminal_activate_create":
        return path, {"terminal": "OSLO-1", "code": code}
    if operation == "modules_install_create":
        return path, MANIFEST
    if operation == "client_keys_retrieve":
        return path.replace("{code}", "ACME"), {}
    if operation in DEVICE_BODIES:
        number = objects["roll-outs"].pk if collection == "roll-outs" else 1
        return re.sub(r"\{\w+\}", str(number), path), DEVICE_BODIES[operation]
    if "{" in path:
        path = path.replace("{id}", str(objects[collection].pk))
    if collection in BODIES and method in ("post", "put", "patch") and path.count("/") in (4, 5):
        return path, BODIES[collection] | (NEW[collection] if method == "post" else {})
    return path + query, {}


def make_callers(tree, objects):
    """Return a client of Django and the headers that each caller sends."""
    operator, stranger = make_user(role=STORE_OPERATOR), make_user(role=STORE_OPERATOR)
    operator.organizations.add(tree["NORTH"])
    stranger.organizations.add(tree["ROME"])
    admin = make_admin()
    tokens = {
        "terminal": issue_token(objects["terminals"], timezone.now()).text,
        "agent": issue_agent_token(objects["servers"].pk, timezone.now()).text,
        "reading": make_user_token(admin, is_read_only=True),
        "administrator": make_user_token(make_user(role=SYSTEM_ADMINISTRATOR)),
        "operator": make_user_token(operator),
        "stranger": make_user_token(stranger),
        "reader": make_user_token(make_user(role=READ_ONLY)),
        "nobody": make_user_token(make_user()),
    }
    browser = Client(enforce_csrf_checks=True, raise_request_exception=False)
    browser.force_login(admin)
    callers = {
        caller: (Client(raise_request_exception=False), {"Authorization": f"Bearer {text}"})
        for caller, text in tokens.items()
    }
    return callers | {"anonymous": (Client(raise_request_exception=False), {}), "session": (browser, {})}


@cache
def operations():
    """Return every operation of the OpenAPI document: its name, method and path."""
    paths = SchemaGenerator().get_schema(request=None, public=True)["paths"]
    return {
        operation["operationId"]: (method, path)
        for path, methods in paths.items()
        for method, operation in methods.items()
    }


def test_the_table_has_every_operation():
    assert sorted(EXPECTED) == sorted(operations())


@pytest.mark.parametrize("operation", EXPECTED)
def test_every_caller_gets_what_the_table_says(operation):
    method, path = operations()[operation]
    tree, objects = make_world()
    callers = make_callers(tree, objects)
    code = create_activation_code(objects["terminals"], moment=timezone.now(), valid_for=timedelta(hours=1)).code
    path, body = request_for(operation, method, path, objects, code)

    found = {}
    for caller in CALLERS:
        client, headers = callers[caller]
        with transaction.atomic():
            answer = client.generic(method.upper(), path, json.dumps(body), "application/json", headers=headers)
            transaction.set_rollback(True)
        found[caller] = answer.status_code

    assert found == EXPECTED[operation]
