"""Only what the vendor signed is a licence."""

import json
import re

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from django.conf import settings as product

from licensing import files
from licensing.files import LARGEST_FILE, LicenseRefused, faulty_vendor_keys, read, vendor_keys
from tests.licensing.makers import KEYS, PUBLIC, STRANGER, make_file, make_license

PRIVATE = (PrivateFormat.PKCS8, NoEncryption())


def refusal_of(data, keys=PUBLIC):
    with pytest.raises(LicenseRefused) as refused:
        read(data, keys)
    return refused.value.code


def signed(claims, header=None, key=None):
    payload = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    return jwt.PyJWS().encode(payload, key or KEYS["test-1"], "EdDSA", header or {"kid": "test-1"}).encode()


def claims_of(data):
    return json.loads(jwt.PyJWS().decode(data, PUBLIC["test-1"], algorithms=["EdDSA"]))


def test_read_returns_what_was_signed():
    license_ = make_license(features=("roll-out",), installation="x", expires_at=None, other={"seats": 3})

    read_again = read(make_file(license_), PUBLIC)

    assert read_again == make_license(
        features=("roll-out",), installation="x", expires_at=None, other={"seats": 3}, key_id="test-1"
    )


def test_every_key_of_the_vendor_is_known_while_it_ships():
    second = make_file(key_id="test-2")

    assert read(second, PUBLIC).key_id == "test-2"
    assert refusal_of(second, {"test-1": PUBLIC["test-1"]}) == "unknown_key"


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_one_line_end_does_not_matter(end):
    assert read(make_file() + end, PUBLIC) == read(make_file(), PUBLIC)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "not_a_license"),
        (b"customer_name=Acme\ncheck_code=5168\n", "not_a_license"),
        (b"a.b.c", "not_a_license"),
        (b"\xff" * 100, "not_a_license"),
        (b"x" * (LARGEST_FILE + 1), "too_large"),
        (make_file(key=STRANGER), "wrong_signature"),
        (signed({"format": 1}, {"kid": "gone"}), "unknown_key"),
        (b"eyJraWQiOiBbInRlc3QtMSJdfQ.e30." + b"A" * 86, "not_a_license"),
        (signed({"format": 2}), "not_a_license"),
        (signed([]), "not_a_license"),
        (signed(b"[" * 40_000), "not_a_license"),
        (signed(b"\xff\xfe"), "not_a_license"),
        (b"eyJraWQiOiAidGVzdC0xIn0.e30." + b"A" * 86, "wrong_signature"),
    ],
)
def test_read_says_why_it_refuses(data, code):
    """OMF-52"""
    assert refusal_of(data) == code


@pytest.mark.parametrize("algorithm", ["none", "HS256"])
def test_no_other_algorithm_is_accepted(algorithm):
    _, payload, _ = make_file().split(b".")
    forged_head = jwt.utils.base64url_encode(json.dumps({"alg": algorithm, "kid": "test-1"}).encode())

    assert refusal_of(b".".join([forged_head, payload, b"AA"])) == "wrong_signature"


@pytest.mark.parametrize(
    ("claim", "value"),
    [
        ("servers", -1),
        ("servers", "3"),
        ("servers", True),
        ("terminals", 1.5),
        ("terminals", 10**30),
        ("customer", ""),
        ("customer", "a\x00b"),
        ("customer", None),
        ("features", "roll-out"),
        ("features", [1]),
        ("expires_at", "tomorrow"),
        ("expires_at", "2027-01-01T00:00:00"),
        ("expires_at", "9999-12-31T23:59:59Z"),
        ("not_before", None),
        ("grace_days", -1),
        ("installation", 5),
    ],
)
def test_signed_nonsense_is_not_a_license(claim, value):
    assert refusal_of(signed(claims_of(make_file()) | {claim: value})) == "not_a_license"


@pytest.mark.parametrize("claim", sorted(claims_of(make_file())))
def test_nothing_may_be_missing(claim):
    claims = claims_of(make_file())
    del claims[claim]

    assert refusal_of(signed(claims)) == "not_a_license"


def test_every_other_character_in_every_place_is_refused():
    """OMF-53"""
    data = make_file()
    other = {ord("A"): b"B"}

    accepted = [
        place
        for place in range(len(data))
        if is_accepted(data[:place] + other.get(data[place], b"A") + data[place + 1 :])
    ]

    assert accepted == []


def test_other_spellings_of_the_last_character_are_refused():
    """Its lowest bits mean nothing to base64: they would make other files of the same signature."""
    data = make_file()
    others = [
        data[:-1] + bytes([letter]) for letter in b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    ]

    assert [other for other in others if is_accepted(other)] == [data]


def is_accepted(data):
    try:
        read(data, PUBLIC)
    except LicenseRefused:
        return False
    return True


def test_the_product_ships_no_private_key():
    found = [
        path
        for path in product.BASE_DIR.rglob("*")
        if path.is_file()
        and not {".venv", ".git", "data", "node_modules"} & set(path.relative_to(product.BASE_DIR).parts)
        and re.search(rb"BEGIN [A-Z ]*PRIVATE KEY-----\s+\S", path.read_bytes())
    ]

    assert found == []


def test_shipped_keys_can_all_be_read():
    files._shipped.cache_clear()

    assert sorted(vendor_keys()) == sorted(path.stem for path in product.LICENSE_VENDOR_KEYS.glob("*.pem"))
    assert faulty_vendor_keys() == ()


def test_a_shipped_file_that_is_no_public_key_is_left_out_and_named(vendor_keys):
    (vendor_keys / "3.private.pem").write_bytes(KEYS["test-1"].private_bytes(Encoding.PEM, *PRIVATE))
    (vendor_keys / "4.pem").write_text("nonsense")

    assert sorted(files.vendor_keys()) == ["test-1", "test-2"]
    assert faulty_vendor_keys() == ("3.private.pem", "4.pem")


def test_a_refusal_for_its_key_says_which_are_known_or_that_none_ships():
    unknown = make_file(key_id="gone", key=STRANGER)

    said = []
    for keys in (PUBLIC, {}):
        with pytest.raises(LicenseRefused) as refused:
            read(unknown, keys)
        said.append((refused.value.code, refused.value.detail))

    assert said == [
        ("unknown_key", "The licence is signed with the key 'gone'; known are test-1, test-2."),
        (
            "unknown_key",
            "The licence is signed with the key 'gone'; no key of the vendor ships with this build, so it can accept "
            "no licence.",
        ),
    ]
