"""Logins issued by one server and checked by its colleagues, without any network."""

import base64
import json
from datetime import UTC, datetime, timedelta

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.http import HttpResponse
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st
from jwt.algorithms import OKPAlgorithm

from request_router.django_middleware import KnownLoginsMiddleware
from request_router.key_set import KeySet, KeySetFile, KeySetUnusable
from request_router.tokens import KnownUser, LoginRefused, TokenTooOld, issue, verify
from request_router.wsgi import KnownLogins

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
MAX_AGE = timedelta(hours=12)
OLD, NEW, OTHER = (Ed25519PrivateKey.generate() for _ in range(3))
WHO = {"user": "ann", "client": "ACME", "organization": "LYON", "role": "cashier", "terminal": "LY-1"}


def jwk(key, kid):
    return {**OKPAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid}


def body(*, revoked=(), **changes):
    told = {
        "format": 1,
        "client": "ACME",
        "token_max_age_ms": 43_200_000,
        "issuers": [
            {"server": "lyon", "keys": [jwk(NEW, "new"), jwk(OLD, "old")]},
            {"server": "oslo", "keys": [jwk(OTHER, "other")]},
        ],
        "revoked": [{"jti": jti, "expires_at": "2026-11-28T00:00:00Z"} for jti in revoked],
    }
    return json.dumps(told | changes).encode()


def token(key=NEW, kid="new", moment=NOON, **changes):
    return issue(key, kid, moment, **({"issuer": "lyon"} | WHO | changes))


def test_a_login_is_known_with_both_keys_of_a_rotation():
    keys = KeySet.of(body())

    users = [verify(token(key, kid), keys, NOON) for key, kid in ((NEW, "new"), (OLD, "old"))]

    expected = [KnownUser("lyon", "ann", "ACME", "LYON", "cashier", "LY-1", u.login_id, NOON + MAX_AGE) for u in users]
    assert users == expected
    assert users[0].login_id != users[1].login_id


@effort(max_examples=150)
@given(st.integers(-120_000, 43_400_000) | st.sampled_from([-60_001, -60_000, 43_200_000, 43_200_001]))
def test_age_and_skew_are_refused_just_beyond_their_bounds(age_ms):
    """N16"""
    spelled = token(moment=NOON)

    try:
        verify(spelled, KeySet.of(body()), NOON + timedelta(milliseconds=age_ms))
        refused = None
    except LoginRefused as error:
        refused = type(error)

    expected = TokenTooOld if age_ms > 43_200_000 else LoginRefused if age_ms < -60_000 else None
    assert refused is expected


def unsigned(header, text):
    head = base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()
    return ".".join([head, text.split(".")[1], ""])


def forged_with_the_public_key():
    secret = NEW.public_key().public_bytes_raw()
    return jwt.encode({"iss": "lyon"}, secret, "HS256", {"typ": "booster-login+jwt", "kid": "new"})


@pytest.mark.parametrize(
    ("spelled", "reason"),
    [
        (token(client="BETA"), "another client"),
        (token(issuer="oslo"), "another server's key"),
        (token(kid="unknown"), "not known"),
        (token(OTHER, "new"), "signature"),
        (unsigned({"alg": "none", "typ": "booster-login+jwt", "kid": "new"}, token()), "no login token"),
        (unsigned({"alg": "EdDSA", "typ": "booster-login+jwt", "kid": "new"}, token()), "signature"),
        (forged_with_the_public_key(), "no login token"),
        (jwt.encode({"iss": "lyon"}, NEW, "EdDSA", {"typ": "booster-login+jwt", "kid": "new"}), "lacks"),
        (jwt.encode({"iss": "lyon"}, NEW, "EdDSA", {"kid": "new"}), "no login token"),
        ("", "no login token"),
        ("a.b.c", "no login token"),
        ("é", "no login token"),
    ],
)
def test_what_is_no_colleagues_login_is_refused(spelled, reason):
    with pytest.raises(LoginRefused, match=reason):
        verify(spelled, KeySet.of(body()), NOON)


def test_a_login_ends_with_its_logout_and_with_its_server():
    spelled = token()
    login = verify(spelled, KeySet.of(body()), NOON)

    with pytest.raises(LoginRefused, match="logged out"):
        verify(spelled, KeySet.of(body(revoked=[login.login_id])), NOON)
    with pytest.raises(LoginRefused, match="not known"):
        verify(spelled, KeySet.of(body(issuers=[])), NOON)


def test_the_copy_on_disk_is_private_and_a_bad_one_never_replaces_it(tmp_path):
    file = KeySetFile(tmp_path / "keys.json")
    with pytest.raises(KeySetUnusable, match="cannot be read"):
        file.current()
    file.store(body())

    for bad in (b"", b"[]", b"{}", body(format=2), body(token_max_age_ms=True), body(issuers=[{"server": "x"}])):
        with pytest.raises(KeySetUnusable):
            file.store(bad)

    assert file.path.stat().st_mode & 0o777 == 0o600
    assert set(KeySetFile(file.path).current().keys) == {"new", "old", "other"}
    KeySetFile(file.path).store(body(issuers=[]))
    assert file.current().keys == {}


def call(app, header):
    told = {}
    environ = {"HTTP_AUTHORIZATION": header} if header else {}
    answer = app(environ, lambda status, headers: told.update(status=status, headers=dict(headers)))
    return told.get("status"), b"".join(answer), environ["booster.user"]


def test_the_middleware_names_the_user_passes_strangers_on_and_refuses_bad_tokens(tmp_path):
    file = KeySetFile(tmp_path / "keys.json")
    app = KnownLogins(lambda environ, start_response: [b"in"], file, lambda: NOON)

    assert call(app, f"Bearer {token()}")[0] == "503 Service Unavailable"
    file.store(body())
    status, answer, user = call(app, f"Bearer {token()}")
    assert (status, answer, user.user) == (None, b"in", "ann")
    assert call(app, "") == (None, b"in", None)
    status, answer, user = call(app, "Bearer nothing")
    assert (status, user, json.loads(answer)["detail"]) == ("401 Unauthorized", None, "This is no login token.")


def test_the_django_middleware_does_the_same(tmp_path, settings, rf):
    settings.BOOSTER_KEY_SET = str(tmp_path / "keys.json")
    middleware = KnownLoginsMiddleware(lambda request: HttpResponse(getattr(request.booster_user, "user", "nobody")))
    ask = lambda text: middleware(rf.get("/", headers={"Authorization": text} if text else {}))  # noqa: E731

    assert ask("Bearer x").status_code == 503
    KeySetFile(tmp_path / "keys.json").store(body())
    good = ask(f"Bearer {token(moment=datetime.now(UTC))}")
    assert (good.content, ask("").content, ask("Bearer x").status_code) == (b"ann", b"nobody", 401)
