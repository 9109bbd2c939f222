"""The agent as a process at a real Booster: reports, patch, documents for the store (OMF-14, OMF-30, OMF-38)."""

import json

import httpx
import pytest
from django.utils import timezone
from jwt.algorithms import OKPAlgorithm

from backoffice import signed_text
from backoffice.document_signing import JWS_TYPE, signing_keys
from booster_agent.configuration import Address
from boosters import rolling
from boosters.driver import drive
from boosters.patch_models import RollOutTarget
from preferences.models import PreferenceValue
from servers.agent_tokens import issue_agent_token
from servers.models import AgentToken, ServerReport, ServerState
from terminals.tokens import issue_token
from tests import serving
from tests.boosters.makers import make_archive, make_patch
from tests.clients.agent.test_command import Host
from tests.clients.agent.test_patching import APPLY
from tests.clients.agent.test_server import until
from tests.factories import make_server, make_terminal, make_tree
from tests.serving import free_port, web_server

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.processes,
    pytest.mark.usefixtures("patch_home"),
]
OLD, NEW = "1.1.0.0", "1.2.0.0"


def order_patch():
    archive = make_archive({"apply.sh": f"#!/bin/sh\n{APPLY}".encode(), "revert.sh": b""})
    rolling.create(make_patch(archive=archive), timezone.now())
    drive(timezone.now())


def test_an_agent_reports_carries_out_an_order_once_and_keeps_its_stores_documents(settings, tmp_path):
    PreferenceValue.objects.create(key="multi_server_enabled", value="Y")
    tree = make_tree(ACME=None, LYON="ACME")
    server = make_server("lyon", client=tree["ACME"], organizations=[tree["LYON"]], server_type="store")
    terminal = issue_token(make_terminal("LY-1", tree["LYON"]), timezone.now())
    (tmp_path / "version").write_text(OLD)
    local_port = free_port()
    environment = {
        "DATABASE_URL": serving.test_database_url(),
        "SECRET_KEY": settings.SECRET_KEY,
        "TOKEN_DIGEST_KEY": settings.TOKEN_DIGEST_KEY,
        "BOOSTER_PATCH_KEYS": settings.BOOSTER_PATCH_KEYS,
    }
    with web_server(settings.DATA_DIR, **environment) as booster:
        lyon = Host(
            tmp_path,
            Address("127.0.0.1", booster.base_url.port),
            SERVER_KEY=server.key,
            AGENT_TOKEN=issue_agent_token(server.pk, timezone.now()).text,
            SERVER_VERSION_FILE=tmp_path / "version",
            BACKUP_COMMAND="true",
            PATCH_KEYS=settings.BOOSTER_PATCH_KEYS,
            LOCAL_PORT=local_port,
        )
        try:
            assert lyon.say("start")[0] == 0
            assert until(lambda: ServerState.objects.filter(server=server, status="online").exists(), 20)
            assert ServerReport.objects.get(server=server).software_version == OLD
            assert AgentToken.objects.get().first_used_at is not None

            order_patch()
            lyon.say("restart")  # an agent that starts asks for its order at once
            assert until(lambda: RollOutTarget.objects.get().state == "done", 30), lyon.log
            assert (tmp_path / "applied").read_text() == f"{server.key} {NEW}\n"
            assert until(lambda: ServerReport.objects.get(server=server).software_version == NEW, 20)

            url = f"http://127.0.0.1:{local_port}/api/v1/local/configuration"
            direct = booster.get(
                "/api/v1/terminal/configuration",
                headers={"Authorization": f"Bearer {terminal.text}", "Accept-Encoding": "identity"},
            )
            held = until(lambda: answer_of(url, terminal.id), 20)
        finally:
            lyon.clean()
    assert held.content == direct.content
    keys = {key["kid"]: OKPAlgorithm.from_jwk(key) for key in signing_keys()}
    signed, _ = signed_text.read(held.headers["X-Booster-Signature"].encode(), keys, JWS_TYPE)
    assert json.loads(signed)["organization"] == "LYON"


def answer_of(url, terminal_id):
    answer = httpx.get(url, headers={"X-Booster-Terminal": terminal_id})
    return answer if answer.status_code == 200 else None
