"""Documents that come from the store's agent: believed by the Booster's signature alone, and only when none answers."""

import base64
import contextlib
import hashlib
import json
import stat
import time
from datetime import UTC, datetime

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from backoffice.document_signing import sign_document, signing_keys
from booster_agent.documents import Copy as AgentsCopy
from booster_agent.documents import Documents, understood
from booster_agent.local_door import LocalDoor
from request_router.booster import NoBooster, Refused
from request_router.documents import WrongDocument
from request_router.state import State
from request_router.store_copy import JWS_TYPE, Copy, is_older, keys_of, tag_of, verified
from request_router.terminal import Terminal
from routing import document as document_of_a_booster
from tests.clients.request_router.scenarios import SCENARIOS
from tests.clients.request_router.test_terminal import Booster, run, running

AWAY = "http://127.0.0.1:9"
TOKEN = "bst_terminal_abcdefghijkmnpqr.the-secret"
TERMINAL_ID = "abcdefghijkmnpqr"
TEMPLATE = SCENARIOS["no-tickets-for-a-server-in-transition"]
STORE = TEMPLATE["configuration"]["organization"]["code"]
KEY, OTHER_KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32), Ed25519PrivateKey.from_private_bytes(b"o" * 32)
NOW = 1_800_000_000


def jwk(key, name="k1"):
    text = base64.urlsafe_b64encode(key.public_key().public_bytes_raw()).rstrip(b"=").decode()
    return {"kty": "OKP", "crv": "Ed25519", "x": text, "kid": name, "alg": "EdDSA", "use": "sig"}


def signed(body, *, key=KEY, name="k1", kind=JWS_TYPE, algorithm="EdDSA", **claims):
    told = {
        "door": "configuration",
        "organization": STORE,
        "revision": 8,
        "sha256": hashlib.sha256(body).hexdigest(),
        "iat": NOW,
    } | claims
    return jwt.encode(told, key, algorithm=algorithm, headers={"kid": name, "typ": kind})


def document(value, **claims):
    body = json.dumps(value).encode()
    return {
        "body": body.decode(),
        "tag": hashlib.sha256(body).hexdigest()[:32],
        "revision": claims.get("revision", 8),
        "signature": signed(body, **{"iat": int(time.time())} | claims),
    }


@contextlib.contextmanager
def agent(tmp_path, configuration, status):
    """Serve both documents from the local port of a real agent."""
    documents = {"configuration": configuration, "status": status}
    organization = {"code": STORE, "terminals": [TERMINAL_ID], "documents": documents}
    held = Documents(tmp_path / "agent.json")
    held.copy = AgentsCopy("", time.time(), understood({"format": 1, "organizations": [organization]}), is_filled=True)
    door = LocalDoor(held, "127.0.0.1", 0, time.time)
    door.start()
    try:
        yield f"http://127.0.0.1:{door.port}"
    finally:
        door.stop()


def activated(folder, agent_url, *boosters, **stored):
    state = State(folder)
    keys = {"organization": STORE, "signing_keys": [jwk(KEY)], "agent": agent_url} | stored
    state.store_identity("LY-1", TOKEN, list(boosters or [AWAY]), **keys)
    return state


CONFIGURATION = {**TEMPLATE["configuration"], "boosters": []}
BODY = b'{"format":1}'
KEYS = keys_of([jwk(KEY)])


def test_a_signature_by_a_known_key_gives_revision_and_moment():
    assert verified(signed(BODY), BODY, KEYS, door="configuration", organization=STORE) == (8, float(NOW))


def test_what_a_booster_signs_is_believed():
    moment = datetime.fromtimestamp(NOW, UTC)
    signature = sign_document("configuration", STORE, 85, BODY, moment)

    told = verified(signature, BODY, keys_of(signing_keys()), door="configuration", organization=STORE)

    assert told == (85, float(NOW))


@pytest.mark.parametrize(
    ("signature", "reason"),
    [
        (signed(BODY + b" "), "The document is not the one that was signed."),
        (signed(BODY, door="status"), "The signature is not that of a configuration."),
        (signed(BODY, organization="PARIS"), "The signature is that of another organization."),
        (signed(BODY, key=OTHER_KEY), "The signature does not hold."),
        (signed(BODY, key=OTHER_KEY, name="k2"), "The document is signed by a key that this terminal does not know."),
        (signed(BODY, kind="booster-login+jwt"), "The signature is of another kind."),
        (signed(BODY, key=None, algorithm="none"), "The signature does not hold."),
        (signed(BODY, key="k" * 32, algorithm="HS256"), "The signature does not hold."),
        (signed(BODY, revision=True), "The signature names no revision or no moment."),
        (signed(BODY, revision="8"), "The signature names no revision or no moment."),
        (signed(BODY, iat=1e9), "The signature names no revision or no moment."),
        ("a.b.c", "The signature does not hold."),
        ("", "The signature does not hold."),
        ("é.é.é", "The signature does not hold."),
        ("a" * 10_000, "The signature is none."),
    ],
)
def test_anything_else_is_no_signature_of_this_document(signature, reason):
    with pytest.raises(WrongDocument) as refused:
        verified(signature, BODY, KEYS, door="configuration", organization=STORE)

    assert str(refused.value) == reason


def test_every_changed_character_of_a_signature_or_its_document_is_noticed():
    signature = signed(BODY)
    changed = [
        signature[:n] + ("A" if signature[n] != "A" else "B") + signature[n + 1 :] for n in range(len(signature))
    ]
    # The last character of 64 bytes in base64 has four bits that stand for nothing.
    for one in changed[:-1]:
        with pytest.raises(WrongDocument):
            verified(one, BODY, KEYS, door="configuration", organization=STORE)


def test_only_ed25519_keys_with_a_name_are_keys():
    rsa = {"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "r"}
    nameless = {name: value for name, value in jwk(KEY).items() if name != "kid"}

    assert list(keys_of([jwk(KEY), rsa, nameless, None, "k", {}, jwk(OTHER_KEY, "k2") | {"x": "AA"}])) == ["k1"]


@pytest.mark.parametrize(
    ("revision", "signed_at", "older"), [(7, 200.0, True), (8, 99.0, True), (8, 100.0, False), (9, 150.0, False)]
)
def test_a_copy_is_older_by_its_revision_or_by_the_moment_of_its_signature(revision, signed_at, older):
    assert is_older(Copy(b"", "", revision, signed_at), 8, 100.0) is older


def test_a_terminal_that_never_saw_its_configuration_starts_from_the_agent(tmp_path):
    status = {"format": 1, "servers": [{"key": "a", "status": "offline"}]}
    with agent(tmp_path, document(CONFIGURATION), document(status, door="status")) as url:
        terminal = Terminal(activated(tmp_path / "t", url))

        polled = [terminal.poll(door) for door in ("configuration", "status", "configuration", "status")]
        terminal.close()
    again = Terminal(State(tmp_path / "t"))

    assert (polled, terminal.through_agent) == ([True, True, False, False], {"configuration", "status"})
    assert (again.revision, again.router.configuration.organization) == (8, STORE)
    assert not again.router.is_online("a")
    assert stat.S_IMODE((tmp_path / "t/configuration.json").stat().st_mode) == 0o600
    again.close()


def test_the_agent_is_told_the_id_of_the_token_and_never_its_secret(tmp_path):
    with running(Booster()) as listening:
        terminal = Terminal(activated(tmp_path / "t", listening.url))
        with pytest.raises(NoBooster, match=rf"agent {listening.url}: HTTP 404"):
            terminal.poll("configuration")
        terminal.close()

    assert [(path, token) for path, token, _ in listening.asked] == [("/api/v1/local/configuration", None)]
    assert listening.headers[0]["X-Booster-Terminal"] == TERMINAL_ID
    assert not any("the-secret" in value for value in listening.headers[0].values())


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"key": OTHER_KEY}, "The signature does not hold."),
        ({"organization": "PARIS"}, "The signature is that of another organization."),
        ({"door": "status"}, "The signature is not that of a configuration."),
    ],
)
def test_a_forged_copy_is_refused_and_the_last_good_configuration_stays(tmp_path, claims, reason):
    with running(Booster()) as booster:
        booster.gives("configuration", CONFIGURATION)
        terminal = Terminal(activated(tmp_path / "t", "", booster.url))
        terminal.poll("configuration")
        terminal.close()
    with agent(tmp_path, document({**CONFIGURATION, "servers": []}, **claims), document({}, door="status")) as url:
        terminal = Terminal(activated(tmp_path / "t", url))
        good = terminal.router.configuration

        with pytest.raises(NoBooster) as none:
            terminal.poll("configuration")
        terminal.close()

    assert f"agent {url}: {reason}" in str(none.value)
    assert (terminal.router.configuration, terminal.revision, terminal.through_agent) == (good, 7, set())


@pytest.mark.parametrize("claims", [{"revision": 6}, {"revision": 7, "iat": 1}])
def test_a_copy_older_than_what_is_held_changes_nothing(tmp_path, claims):
    with running(Booster()) as booster:
        booster.gives("configuration", CONFIGURATION)
        terminal = Terminal(activated(tmp_path / "t", "", booster.url))
        terminal.poll("configuration")
        terminal.close()
    with agent(tmp_path, document({**CONFIGURATION, "servers": []}, **claims), document({}, door="status")) as url:
        terminal = Terminal(activated(tmp_path / "t", url))
        good = terminal.router.configuration

        taken = terminal.poll("configuration")
        terminal.close()

    assert (taken, terminal.router.configuration, terminal.revision) == (False, good, 7)


def test_the_agent_is_not_asked_while_a_booster_answers_or_refuses(tmp_path):
    with running(Booster()) as booster, running(Booster()) as listening:
        booster.gives("configuration", CONFIGURATION)
        booster.answers["status"] = (410, {}, b'{"detail": "The terminal was revoked."}')
        terminal = Terminal(activated(tmp_path / "t", listening.url, booster.url))

        terminal.poll("configuration")
        with pytest.raises(Refused):
            terminal.poll("status")
        terminal.close()

    assert listening.asked == []


def test_a_booster_that_is_back_takes_over_from_the_agent(tmp_path):
    with running(Booster()) as booster, agent(tmp_path, document(CONFIGURATION), document({}, door="status")) as url:
        booster.answers["configuration"] = (503, {}, b"")
        terminal = Terminal(activated(tmp_path / "t", url, booster.url))
        terminal.poll("configuration")
        through_agent = set(terminal.through_agent)
        booster.gives("configuration", {**CONFIGURATION, "multi_server": False, "servers": []}, tag="2")

        terminal.poll("configuration")
        terminal.close()

    assert (through_agent, terminal.through_agent) == ({"configuration"}, set())
    assert terminal.router.configuration.servers == ()


@pytest.mark.parametrize("stored", [{"signing_keys": []}, {"organization": ""}])
def test_without_a_key_from_the_activation_the_agent_is_not_believed(tmp_path, stored):
    with agent(tmp_path, document(CONFIGURATION), document({}, door="status")) as url:
        terminal = Terminal(activated(tmp_path / "t", url, **stored))

        with pytest.raises(NoBooster, match="the activation gave no key to check it by, activate again"):
            terminal.poll("configuration")
        terminal.close()


def test_an_agent_that_cannot_be_reached_is_named_beside_the_boosters(tmp_path):
    terminal = Terminal(activated(tmp_path / "t", "http://127.0.0.1:10"))

    with pytest.raises(NoBooster) as none:
        terminal.poll("configuration")
    terminal.close()

    assert str(none.value).startswith("http://127.0.0.1:9: ")
    assert "; agent http://127.0.0.1:10: " in str(none.value)


def test_the_command_keeps_keys_and_agent_of_the_activation_and_shows_by_the_agent(tmp_path, capsys):
    activation = {"token": TOKEN, "boosters": [AWAY], "organization": STORE, "signing_keys": [jwk(KEY)]}
    with agent(tmp_path, document(CONFIGURATION), document(TEMPLATE["status"], door="status")) as url:
        with running(Booster()) as booster:
            booster.answers["activate"] = (201, {}, json.dumps(activation).encode())
            done = run(capsys, tmp_path / "t", "activate", booster.url, "LY-1", "AAAA", "--agent", url)
        shown = run(capsys, tmp_path / "t", "show")

    wrong = run(capsys, tmp_path / "t", "activate", AWAY, "LY-1", "AAAA", "--agent", "ftp://x")
    assert done[0] == 0
    assert (shown[0], shown[2]) == (0, "No Booster answered: going on with what the store's agent has.\n")
    assert shown[1].startswith(f"LY-1 at {STORE}, revision 8, ")
    assert wrong == (1, "", "The agent must be an http or https address.\n")
    assert httpx.URL(State(tmp_path / "t").identity()["agent"]) == httpx.URL(url)


def test_a_tag_of_the_agents_choosing_does_not_let_a_booster_pass_over_a_newer_document(tmp_path):
    newer = {**CONFIGURATION, "multi_server": False, "servers": []}
    lying = document(CONFIGURATION) | {"tag": tag_of(json.dumps(newer).encode())}
    with agent(tmp_path, lying, document({}, door="status")) as url, running(Booster()) as booster:
        booster.answers["configuration"] = (503, {}, b"")
        terminal = Terminal(activated(tmp_path / "t", url, booster.url))
        terminal.poll("configuration")
        booster.gives("configuration", newer, tag=lying["tag"])

        taken = terminal.poll("configuration")
        terminal.close()

    assert (taken, terminal.router.configuration.servers) == (True, ())


def test_tags_are_those_that_a_booster_gives():
    assert tag_of(BODY) == document_of_a_booster.tag_of(BODY)
