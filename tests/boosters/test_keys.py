"""Public keys of the servers' logins: registered, rotated, ended, and told to the client's servers and to anyone."""

import base64
import json
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.core.management import CommandError, call_command
from jwt.algorithms import OKPAlgorithm

from backoffice.refusals import Conflict, Invalid
from events.models import Event
from routing.store import store
from servers.agent_tokens import issue_agent_token
from servers.models import RevokedLogin, ServerSigningKey
from servers.signing_keys import end_key, read_public_jwk, register_key, thumbprint
from tests.factories import make_server, make_tree

pytestmark = pytest.mark.django_db
PATH, ENDED = "/api/v1/agent/keys", "/api/v1/agent/revocations"
NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)


def make_jwk():
    jwk = OKPAlgorithm.to_jwk(Ed25519PrivateKey.generate().public_key(), as_dict=True)
    return {"kty": "OKP", "crv": "Ed25519", "x": jwk["x"]}


def full(jwk):
    return jwk | {"kid": thumbprint(jwk["x"]), "alg": "EdDSA", "use": "sig"}


@pytest.fixture(autouse=True)
def _noon(time_machine):
    time_machine.move_to(NOON, tick=False)


@pytest.fixture
def tree():
    return make_tree(ACME=None, LYON="ACME", BETA=None)


@pytest.fixture
def lyon(tree):
    return make_server("lyon", client=tree["ACME"])


@pytest.fixture
def oslo(tree):
    return make_server("oslo", client=tree["ACME"])


def bearer(server):
    return {"HTTP_AUTHORIZATION": f"Bearer {issue_agent_token(server.pk, NOON).text}"}


def fetch(client, caller, **headers):
    store.refresh()
    return client.get(PATH, headers=headers, **caller)


def test_thumbprint_is_that_of_rfc_8037():
    assert thumbprint("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo") == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def test_a_registered_key_reaches_the_servers_of_its_client_alone(api_client, tree, lyon, oslo):
    jwk = make_jwk()
    stranger = make_server("rome", client=tree["BETA"])

    made = api_client.post(PATH, {"jwk": jwk}, format="json", **bearer(lyon))
    again = api_client.post(PATH, {"jwk": full(jwk)}, format="json", **bearer(lyon))

    assert (made.status_code, again.status_code) == (201, 200)
    assert made.json() == again.json() == {"kid": thumbprint(jwk["x"])}
    assert fetch(api_client, bearer(oslo)).json() == {
        "format": 1,
        "client": "ACME",
        "token_max_age_ms": 43_200_000,
        "issuers": [{"server": lyon.key, "keys": [full(jwk)]}],
        "revoked": [],
    }
    assert fetch(api_client, bearer(stranger)).json()["issuers"] == []
    assert Event.objects.filter(kind="signing-key-registered").count() == 1


@pytest.mark.parametrize(
    "change",
    [
        {"d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"},
        {"kty": "RSA"},
        {"crv": "X25519"},
        {"alg": "HS256"},
        {"x": "AAAA"},
        {"x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURp"},
        {"x": 7},
        {"x": "é" * 43},
        {"kid": "another"},
    ],
)
def test_what_is_no_public_ed25519_key_is_refused_and_not_kept(api_client, lyon, change):
    answer = api_client.post(PATH, {"jwk": full(make_jwk()) | change}, format="json", **bearer(lyon))

    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "/jwk")
    assert not ServerSigningKey.objects.exists()
    assert change.get("d", "never told") not in answer.content.decode()


def test_a_rotation_overlaps_and_the_oldest_of_four_keys_ends(lyon):
    keys = [register_key(lyon.pk, make_jwk(), NOON + timedelta(days=day))[0] for day in range(4)]

    live = lyon.signing_keys.filter(ended_at=None).values_list("key_id", flat=True)

    assert list(live) == [key.key_id for key in reversed(keys[1:])]


def test_a_key_that_ended_and_another_servers_key_are_conflicts(lyon, oslo):
    jwk = make_jwk()
    key, _ = register_key(lyon.pk, jwk, NOON)

    with pytest.raises(Conflict, match="another server"):
        register_key(oslo.pk, jwk, NOON)
    assert (end_key(key.key_id, NOON), end_key(key.key_id, NOON)) == (True, False)
    with pytest.raises(Conflict, match="has ended"):
        register_key(lyon.pk, jwk, NOON)


def test_unchanged_keys_are_304_and_every_change_is_told_at_once(api_client, lyon, oslo):
    key, _ = register_key(lyon.pk, make_jwk(), NOON)
    caller = bearer(oslo)
    first = fetch(api_client, caller)

    same = fetch(api_client, caller, if_none_match=first.headers["ETag"])
    lyon.is_active = False
    lyon.save()
    inactive = fetch(api_client, caller, if_none_match=first.headers["ETag"])

    assert (same.status_code, same.content) == (304, b"")
    assert (inactive.status_code, inactive.json()["issuers"]) == (200, [])
    lyon.is_active = True
    lyon.save()
    end_key(key.key_id, NOON)
    assert fetch(api_client, caller).json()["issuers"] == []


def test_a_login_that_was_ended_travels_with_the_keys_until_it_has_expired(api_client, lyon, oslo, time_machine):
    told = {"jti": "login-1", "expires_at": "2026-11-27T18:00:00Z"}

    answers = [api_client.post(ENDED, told, format="json", **bearer(lyon)).status_code for _ in range(2)]
    held = fetch(api_client, bearer(oslo)).json()["revoked"]
    time_machine.move_to(NOON + timedelta(hours=6), tick=False)
    later = fetch(api_client, bearer(oslo)).json()["revoked"]
    api_client.post(ENDED, {"jti": "old", "expires_at": "2026-11-27T17:00:00Z"}, format="json", **bearer(lyon))

    assert answers == [204, 204]
    assert (held, later) == ([told], [])
    assert not RevokedLogin.objects.exists()


@pytest.mark.parametrize(
    "told", [{}, {"jti": "a b", "expires_at": "2027-01-01T00:00:00Z"}, {"jti": "a", "expires_at": "soon"}]
)
def test_a_malformed_revocation_is_refused(api_client, lyon, told):
    assert api_client.post(ENDED, told, format="json", **bearer(lyon)).status_code == 400


@pytest.mark.parametrize("servers", [1, 3])
def test_the_key_set_takes_four_queries_however_many_servers(api_client, tree, django_assert_num_queries, servers):
    made = [make_server(f"s{number}", client=tree["ACME"]) for number in range(servers)]
    for server in made:
        register_key(server.pk, make_jwk(), NOON)
    caller = bearer(made[0])
    fetch(api_client, caller)

    with django_assert_num_queries(4):
        answer = api_client.get(PATH, **caller)

    assert len(answer.json()["issuers"]) == servers


def test_anyone_reads_the_public_keys_of_a_client(api_client, lyon):
    jwk = make_jwk()
    register_key(lyon.pk, jwk, NOON)

    answer = api_client.get("/api/v1/clients/ACME/jwks.json")
    same = api_client.get("/api/v1/clients/ACME/jwks.json", headers={"If-None-Match": answer.headers["ETag"]})

    assert (answer.status_code, answer.json()) == (200, {"keys": [full(jwk)]})
    assert (same.status_code, same.content) == (304, b"")
    assert api_client.get("/api/v1/clients/LYON/jwks.json").status_code == 404


def command(*arguments):
    out, err = StringIO(), StringIO()
    call_command("server_key", *map(str, arguments), stdout=out, stderr=err)
    return out.getvalue().strip(), err.getvalue()


def test_the_command_makes_registers_lists_and_ends_keys_and_never_prints_the_private_half(lyon, tmp_path):
    public, said = command("generate", tmp_path)
    private = next(tmp_path.glob("*.private.pem"))
    secret = "".join(private.read_text().splitlines()[1:-1])
    kid = json.loads((tmp_path / public).read_text())["kid"]

    told = [command("register", lyon.key, public)[0] for _ in range(2)]
    listed = command("list", lyon.key)[0]
    ended = command("end", kid)[0]

    assert private.stat().st_mode & 0o777 == 0o600
    assert told == [f"{kid} registered.", f"{kid} was registered already."]
    assert listed == f"{kid}  2026-11-27T12:00:00Z  command line  live"
    assert ended == f"{kid} ended."
    assert secret not in said + public + base64.b64encode(listed.encode()).decode()


def test_the_command_refuses_private_keys_and_what_it_does_not_know_in_one_line(lyon, tmp_path):
    private = tmp_path / "private.jwk"
    private.write_text(json.dumps(make_jwk() | {"d": "AAAA"}))
    broken = tmp_path / "broken.jwk"
    broken.write_text("{")

    for arguments, reason in (
        (("register", lyon.key, private), "private key"),
        (("register", lyon.key, broken), "no JWK"),
        (("register", "nobody", broken), "no"),
        (("register", lyon.key, tmp_path / "absent"), "No such file"),
        (("end", "nothing"), "no key nothing"),
    ):
        with pytest.raises(CommandError, match=reason):
            command(*arguments)
    with pytest.raises(Invalid):
        read_public_jwk({})
