import re

import pytest
from django.test import override_settings

from backoffice.credentials import Credential, digest, is_secret, make_credential, parse_credential


def test_a_credential_survives_being_written_down():
    credential = make_credential("terminal")

    assert re.fullmatch(r"bst_terminal_[a-z0-9]{16}\.[A-Za-z0-9_-]{43}", credential.text)
    assert parse_credential(credential.text) == credential


def test_no_two_credentials_are_alike_and_none_shows_its_secret():
    credentials = [make_credential("user") for _ in range(100)]

    assert len({credential.id for credential in credentials}) == 100
    assert len({credential.secret for credential in credentials}) == 100
    assert all(credential.secret not in repr(credential) for credential in credentials)


ID, SECRET = "a" * 16, "S" * 43


@pytest.mark.parametrize(
    "text",
    [
        "",
        "bst_",
        f"bst_terminal_{ID}",
        f"bst_terminal_{ID}.",
        f"bst_terminal_{ID}.{SECRET[:-1]}",
        f"bst_terminal_{ID}.{SECRET}x",
        f"bst_terminal_{ID[:-1]}.{SECRET}",
        f"bst_terminal_{ID.upper()}.{SECRET}",
        f"bst_TERMINAL_{ID}.{SECRET}",
        f"bst__{ID}.{SECRET}",
        f"xst_terminal_{ID}.{SECRET}",
        f" bst_terminal_{ID}.{SECRET}",
        f"bst_terminal_{ID}.{SECRET}\n",
        f"bst_terminal_{ID}.{'é' * 43}",
        "Bearer x",
    ],
)
def test_malformed_texts_are_no_credential(text):
    assert parse_credential(text) is None


def test_the_digest_tells_the_secret_from_any_other_and_depends_on_the_key():
    credential = make_credential("user")
    stored = credential.digest

    assert is_secret(credential.secret, stored)
    assert not is_secret(credential.secret[:-1] + "!", stored)
    assert credential.secret not in stored
    with override_settings(TOKEN_DIGEST_KEY="another key"):
        assert digest(credential.secret) != stored
        assert not is_secret(credential.secret, stored)


def test_a_credential_of_one_kind_does_not_read_as_another():
    text = Credential(kind="agent", id=ID, secret=SECRET).text

    assert parse_credential(text).kind == "agent"
