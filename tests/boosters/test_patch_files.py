"""The container of a patch (OMF-31, OMF-32, OMF-35)."""

import hashlib
import tarfile

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from boosters.patch_files import Checked, Description, PatchRefused, build, check
from tests.boosters.makers import FILES, KEY, KEY_ID, KEYS, make_archive, make_container


@pytest.fixture
def refusal_of(tmp_path):
    """Return a function that checks a container and returns code and detail of its refusal."""

    def of(content, keys=KEYS):
        path = tmp_path / "one.bpatch"
        path.write_bytes(content)
        with pytest.raises(PatchRefused) as refused:
            check(path, keys)
        return refused.value.code, refused.value.detail

    return of


def test_a_signed_container_tells_the_patch_and_its_own_size_and_digest(tmp_path):
    archive = make_archive()
    content = make_container(archive)
    path = tmp_path / "one.bpatch"
    path.write_bytes(content)

    assert check(path, KEYS) == Checked(
        Description(
            product="Openbravo POS",
            name="Summer release",
            version="1.2.0.0",
            fits_from="1.1.0.0",
            fits_to="1.2.0.0",
            size_bytes=len(archive),
            sha256=hashlib.sha256(archive).hexdigest(),
            apply="apply.sh",
            revert="revert.sh",
            notes="Faster.",
            key_id=KEY_ID,
        ),
        len(content),
        hashlib.sha256(content).hexdigest(),
    )


def test_one_wrong_byte_in_the_archive_is_refused_with_what_to_do_omf_35(refusal_of):
    content = bytearray(make_container())
    content[-20] ^= 1

    assert refusal_of(bytes(content)) == (
        "wrong_digest",
        "The SHA-256 of the archive is not the signed one: the file was damaged or altered on its way. "
        "Fetch it anew from the vendor.",
    )


def test_a_truncated_patch_is_refused_with_both_sizes_omf_35(refusal_of):
    archive = make_archive()

    code, detail = refusal_of(make_container(archive)[:-10])

    assert code == "wrong_size"
    assert detail.startswith(f"The archive has {len(archive) - 10} bytes instead of {len(archive)}")


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_changed_byte_anywhere_is_refused_omf_35(refusal_of, data):
    content = bytearray(make_container())
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] ^= data.draw(st.integers(1, 255))

    assert refusal_of(bytes(content))[0] in {
        "not_a_patch",
        "unknown_key",
        "wrong_signature",
        "wrong_digest",
        "wrong_size",
    }


def test_without_any_vendors_key_the_refusal_says_how_to_configure_one(refusal_of):
    code, detail = refusal_of(make_container(), keys={})

    assert code == "unknown_key"
    assert "put the vendor's public key (PEM or JWK) into the directory that BOOSTER_PATCH_KEYS names" in detail


def test_a_patch_of_another_vendor_is_refused(refusal_of):
    other = Ed25519PrivateKey.generate()

    assert refusal_of(make_container(key=other, key_id="other"))[0] == "unknown_key"
    assert refusal_of(make_container(key=other))[0] == "wrong_signature"


def link(name, kind, target="/etc/passwd"):
    member = tarfile.TarInfo(name)
    member.type = kind
    member.linkname = target
    return member


@pytest.mark.parametrize(
    ("archive", "why"),
    [
        (make_archive(FILES | {"/etc/cron.d/x": b""}), "is not a path below the patch's folder"),
        (make_archive(FILES | {"lib/../../x": b""}), "leads out of the patch's folder"),
        (make_archive(FILES | {"c:\\x": b""}), "is not a path below the patch's folder"),
        (make_archive(FILES, link("lib/x", tarfile.SYMTYPE)), "is a link: only files and folders may be in a patch"),
        (make_archive(FILES, link("lib/x", tarfile.LNKTYPE, "apply.sh")), "is a link"),
        (make_archive(FILES, link("lib/x", tarfile.CHRTYPE)), "is a device or pipe"),
        (make_archive(FILES, link("lib/x", tarfile.FIFOTYPE)), "is a device or pipe"),
    ],
    ids=["absolute", "dots", "drive", "symbolic", "hard", "device", "pipe"],
)
def test_an_archive_cannot_leave_its_folder(refusal_of, archive, why):
    code, detail = refusal_of(make_container(archive))

    assert (code, why in detail) == ("unsafe_path", True)


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"kind": "licence"}, "its kind is not patch"),
        ({"version": "2.0"}, "four numbers such as 1.1.6.3"),
        ({"fits_from": "1.3.0.0", "fits_to": "1.2.0.0"}, "No version lies from"),
        ({"fits_from": "2.0.0.0", "fits_to": "2.1.0.0"}, "newer than its own version"),
        ({"apply": "../apply.sh"}, "apply names a script that leads out"),
        ({"size_bytes": True}, "size_bytes is not a count"),
        ({"sha256": "x"}, "sha256 is not a SHA-256"),
        ({"product": ""}, "product is not a text"),
        ({"notes": 3}, "notes is not a text"),
        ({"notes": "\ud800"}, "notes is not a text"),
    ],
)
def test_what_a_vendor_signed_wrongly_is_refused_with_the_reason_omf_32(refusal_of, claims, why):
    code, detail = refusal_of(make_container(**claims))

    assert (code, why in detail) == ("not_a_patch", True), detail


def test_a_patch_without_its_script_is_refused(refusal_of):
    assert refusal_of(make_container(make_archive({"readme": b""}))) == (
        "script_missing",
        "The archive lacks the script 'apply.sh' that the patch names.",
    )


def test_an_archive_that_unpacks_to_far_more_than_it_is_is_refused(refusal_of, monkeypatch):
    monkeypatch.setattr("boosters.patch_files.SMALL", 1000)

    assert refusal_of(make_container(make_archive(FILES | {"zeros": bytes(10_000_000)})))[0] == "too_large"


@pytest.mark.parametrize("content", [b"", b"\n", b"x" * 100_000, b"a.b.c\n", make_container()[: 2**9]])
def test_what_is_no_patch_is_refused(refusal_of, content):
    assert refusal_of(content)[0] == "not_a_patch"


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "content"
    for name, content in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


TOLD = Description("Openbravo POS", "Summer", "1.2.0.0", "1.1.0.0", "1.2.0.0", 0, "", revert="revert.sh")


def test_a_built_patch_is_accepted_and_leaves_nothing_else(tmp_path, folder):
    out = tmp_path / "summer.bpatch"

    built = build(folder, out, TOLD, KEY, KEY_ID)

    assert check(out, KEYS) == built
    assert (built.description.version, built.sha256) == ("1.2.0.0", hashlib.sha256(out.read_bytes()).hexdigest())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["content", "summer.bpatch"]


def test_building_refuses_what_would_be_refused_and_leaves_nothing(tmp_path, folder):
    (folder / "link").symlink_to("/etc/passwd")

    with pytest.raises(PatchRefused, match="is a link"):
        build(folder, tmp_path / "summer.bpatch", TOLD, KEY, KEY_ID)

    assert [path.name for path in tmp_path.iterdir()] == ["content"]


def test_building_never_replaces_a_file(tmp_path, folder):
    out = tmp_path / "summer.bpatch"
    out.write_text("precious")

    with pytest.raises(FileExistsError):
        build(folder, out, TOLD, KEY, KEY_ID)

    assert out.read_text() == "precious"
