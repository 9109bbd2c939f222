"""Licence files that the vendor did not sign, made from one that it did; and signed nonsense."""

import base64
import hashlib
import hmac
import json

import jwt
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.licensing.makers import KEYS, PUBLIC, STRANGER

ALPHABET = bytes(range(256))
HEADER = {"alg": "EdDSA", "typ": "booster-license", "kid": "test-1"}
PUBLIC_PEM = PUBLIC["test-1"].public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
PUBLIC_RAW = PUBLIC["test-1"].public_bytes(Encoding.Raw, PublicFormat.Raw)
HEADERS = (
    {"alg": "none"},
    {"alg": "None"},
    {"alg": ""},
    {"alg": None},
    {"alg": ["EdDSA"]},
    {"alg": "HS256"},
    {"alg": "HS512"},
    {"alg": "ES256"},
    {"alg": "RS256"},
    {"alg": "Ed25519"},
    {"kid": "test-2"},
    {"kid": "TEST-1"},
    {"kid": "test-1\x00"},
    {"kid": "../test-1"},
    {"kid": ""},
    {"kid": None},
    {"kid": 1},
    {"kid": {"test-1": 1}},
    {"kid": "k" * 5000},
    {"crit": ["exp"], "exp": 1},
    {"crit": []},
    {"b64": False, "crit": ["b64"]},
    {"jku": "https://attacker.example/keys"},
    {"jwk": {"kty": "OKP", "crv": "Ed25519", "x": "AAAA"}},
    {"x5c": ["AAAA"]},
    {"typ": 5},
    {"zip": "DEF"},
)
NONSENSE = {
    "format": (0, 2, "1", 1.5, None, [1], {"1": 1}),
    "id": ("", " ", None, 5, ["L-1"], {"id": 1}, "x" * 201, "a\x00b", "a\nb", "\u202e"),
    "customer": ("", "\t", None, True, [], {}, "x" * 10_000, "\ud800", "\ufeff"),
    "type": ("", None, 0, ["unlimited"], "\x1b[2J"),
    "servers": (-1, True, 1.0, "3", [], {}, 10**9 + 1, 10**4000, float("inf"), float("nan"), "٣"),
    "terminals": (-1, False, 0.5, "10", [10], {"n": 1}, 10**30, -(10**30)),
    "features": (None, "roll-out", {"roll-out": 1}, [None], [1], [[]], [""], ["a\x00"]),
    "issued_at": (None, 0, 1.5, "", "now", "2027-01-01", "2027-13-01T00:00:00Z", "0001-01-01T00:00:00Z", "٢٠٢٧"),
    "not_before": (None, True, [], "9999-12-31T23:59:59-23:59", "2027-01-01T00:00:00"),
    "expires_at": (0, False, "", "never", {}, "10000-01-01T00:00:00Z", "2027-01-01T25:00:00Z"),
    "grace_days": (-1, None, "30", 1e3, True, 10**12, [30]),
    "installation": ("", 5, [], {}, True, "x" * 201),
}
BLANKS = (b" ", b"\t", b"\r", b"\n", b"\r\n", b"\x0b", b"\x0c", b"\x00", b"\xc2\xa0", b"\xe2\x80\x8b", b"\xef\xbb\xbf")
LOOK_ALIKES = (
    (b".", "\u3002"),
    (b".", "\uff0e"),
    (b"A", "\u0410"),
    (b"e", "\u0435"),
    (b"J", "\uff2a"),
    (b"-", "\u2010"),
    (b"a", "a\u0301"),
)


def mutate(data, chance):
    """Change bytes: flips, cuts, insertions, repeats and swaps."""
    for _ in range(chance.choice((1, 1, 1, 2, 5))):
        at = chance.randrange(len(data) + 1)
        until = min(len(data), at + chance.choice((1, 1, 2, 8, 60)))
        data = chance.choice(
            (
                data[:at] + bytes(chance.choices(ALPHABET, k=until - at)) + data[until:],
                data[:at] + bytes([chance.choice(data or b"A")]) + data[until:],
                data[:at] + data[until:],
                data[:at] + bytes(chance.choices(b"ABCDEFabcdef0189-_.=", k=until - at)) + data[at:],
                data[:at] + data[at:until] * 2 + data[until:],
                data[until:] + data[:until],
            )
        )
    return data


def flip_bits(data, chance):
    changed = bytearray(data)
    for place in chance.sample(range(len(data)), chance.choice((1, 1, 2, 16))):
        changed[place] ^= 1 << chance.randrange(8)
    return bytes(changed)


def truncate(data, chance):
    keep = chance.randrange(len(data))
    return data[:keep] if chance.random() < 0.5 else data[-keep:] if keep else b""


def swap_header(data, chance):
    """Another header over the vendor's payload: with its signature, none, a stranger's or one by the public key."""
    header = HEADER | chance.choice(HEADERS)
    _, payload, signature = data.split(b".")
    return _closed(_part(_json(header)), payload, signature, chance)


def swap_claims(data, chance):
    """Other claims under the vendor's signature, none, a stranger's or one by the public key."""
    claims = _claims(data) | chance.choice(
        (
            {"terminals": 10**6},
            {"servers": None, "terminals": None},
            {"type": "unlimited"},
            {"expires_at": None},
            {"grace_days": 3650},
            {"installation": None, "customer": chance.choice(("Acme", "Аcme", "Acme\u200b", "é" * 50))},
            {"id": str(chance.random())},
            {"other": _nested(chance.choice((5, 200, 900)))},
            {"n": chance.choice((10**4000, -(10**40), 1e308))},
        )
    )
    header, _, signature = data.split(b".")
    return _closed(header, _part(_json(claims)), signature, chance)


def swap_parts(data, chance):
    """Parts of two licences of the vendor, put together anew."""
    claims = _claims(data) | {"id": "L-3", "terminals": chance.randrange(10**6)}
    other = jwt.PyJWS().encode(_json(claims), KEYS["test-2"], "EdDSA", {"kid": "test-2"}).encode()
    ours, theirs = data.split(b"."), other.split(b".")
    mixed = [chance.choice(pair) for pair in zip(ours, theirs, strict=True)]
    if mixed in (ours, theirs):
        mixed = [mixed[0], ours[1] if mixed is theirs else theirs[1], mixed[2]]
    chance.random() < 0.2 and mixed.reverse()
    return b".".join(mixed) if mixed not in (ours, theirs) else b".".join([theirs[0], *ours[1:]])


def repeat_members(data, chance):
    """A member twice, as parsers that keep the first and those that keep the last would read it differently."""
    header, payload, signature = data.split(b".")
    text = _json(_claims(data)).decode()
    member = chance.choice(('"terminals": 999999', '"type": "unlimited"', '"expires_at": null', '"format": 1'))
    doubled = chance.choice((f"{{{member}, {text[1:]}", f"{text[:-1]}, {member}}}")).encode()
    if chance.random() < 0.3:
        twice = b'{"kid": "gone", ' + _json(HEADER)[1:]
        return _closed(_part(twice), payload, signature, chance)
    return _closed(header, _part(doubled), signature, chance)


def add_blanks(data, chance):
    """Blanks and line ends in all places but one line end after the text, and base64 as others write it."""
    blank = chance.choice(BLANKS)
    at = chance.choice((0, data.index(b"."), data.index(b".") + 1, chance.randrange(len(data))))
    header, payload, signature = data.split(b".")
    return chance.choice(
        (
            data[:at] + blank + data[at:],
            data + blank + chance.choice(BLANKS[:3]),
            blank + data + b"\n",
            b".".join(part + b"=" * (-len(part) % 4 or 4) for part in (header, payload, signature)),
            b"\n".join(data[start : start + 64] for start in range(0, len(data), 64)),
            b"-----BEGIN LICENSE-----\n" + data + b"\n-----END LICENSE-----\n",
            b'"' + data + b'"',
            b"Bearer " + data,
            data.decode().encode(chance.choice(("utf-16", "utf-16-le", "utf-32"))),
            data.swapcase(),
        )
    )


def look_alike(data, chance):
    letter, other = chance.choice(LOOK_ALIKES)
    places = [place for place in range(len(data)) if data[place : place + 1] == letter] or [0]
    at = chance.choice(places)
    return data[:at] + other.encode() + data[at + 1 :]


def signed_nonsense(data, chance):
    """What a mistaken vendor signed: types confused, numbers beyond all bounds, members gone, no object at all."""
    claims = _claims(data)
    name = chance.choice(tuple(NONSENSE))
    kind = chance.randrange(4)
    if kind == 0:
        del claims[name]
        payload = _json(claims)
    elif kind == 1:
        payload = chance.choice(
            (b"", b"null", b"[]", b"1", b'"x"', b"{", b"\xff", b"[" * 30_000, b'{"a":' * 9_000, _json([claims]))
        )
    else:
        payload = _json(claims | {name: chance.choice(NONSENSE[name])})
    return jwt.PyJWS().encode(payload, KEYS["test-1"], "EdDSA", {"kid": "test-1"}).encode()


MUTATIONS = (
    mutate,
    flip_bits,
    truncate,
    swap_header,
    swap_claims,
    swap_parts,
    repeat_members,
    add_blanks,
    look_alike,
    signed_nonsense,
)


def _closed(header, payload, signature, chance):
    """Return the file with the signature it had, none, or one of somebody who is not the vendor."""
    signed = header + b"." + payload
    secret = chance.choice((PUBLIC_PEM, PUBLIC_RAW, b"", b"secret"))
    return (
        signed
        + b"."
        + chance.choice(
            (
                signature,
                b"",
                b"AA",
                _part(STRANGER.sign(signed)),
                _part(hmac.new(secret, signed, hashlib.sha256).digest()),
                _part(bytes(64)),
            )
        )
    )


def _claims(data):
    return json.loads(base64.urlsafe_b64decode(data.split(b".")[1] + b"=="))


def _json(value):
    return json.dumps(value).encode()


def _part(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _nested(depth):
    value = 1
    for _ in range(depth):
        value = [value]
    return value
