"""The patch's container on the agent's side (OMF-35)."""

import io
import tarfile

import pytest

from booster_agent.container import PatchRefused, check, keys_in, unpack
from tests.boosters.makers import KEY_ID, KEYS, make_archive, make_container, write_keys


def written(tmp_path, content):
    path = tmp_path / "a.bpatch"
    path.write_bytes(content)
    return path


def member(name, **told):
    made = tarfile.TarInfo(name)
    for attribute, value in told.items():
        setattr(made, attribute, value)
    return made


def test_a_vendors_patch_is_unpacked_for_the_agents_user_alone(tmp_path):
    path = written(tmp_path, make_container())

    description = check(path, KEYS)
    unpack(path, tmp_path / "out", KEYS)

    assert (description.version, description.apply, description.revert) == ("1.2.0.0", "apply.sh", "revert.sh")
    assert sorted(str(file.relative_to(tmp_path / "out")) for file in (tmp_path / "out").rglob("*")) == [
        "apply.sh",
        "lib",
        "lib/pos.jar",
        "revert.sh",
    ]
    assert (tmp_path / "out/lib/pos.jar").stat().st_mode & 0o7777 == 0o600


def test_the_hosts_own_folder_of_keys_decides(tmp_path):
    write_keys(tmp_path)
    (tmp_path / "broken.pem").write_text("nothing")

    assert list(keys_in(tmp_path)) == [KEY_ID]
    assert keys_in(None) == {}


@pytest.mark.parametrize("position", range(0, 1000, 37))
def test_one_wrong_byte_anywhere_is_found(tmp_path, position):
    """OMF-35"""
    content = bytearray(make_container())
    position = position % len(content)
    content[position] ^= 0x01

    with pytest.raises(PatchRefused):
        check(written(tmp_path, bytes(content)), KEYS)


@pytest.mark.parametrize(
    ("content", "keys", "said"),
    [
        (make_container()[:-1], KEYS, "the file was cut short"),
        (b"", KEYS, "its first line is not a vendor's"),
        (b"a.b.c\n", KEYS, "its first line is not a vendor's"),
        (make_container(), {}, "PATCH_KEYS"),
        (make_container(key_id="stranger"), KEYS, "known on this host"),
        (make_container(apply="../apply.sh"), KEYS, "leads out of the patch's folder"),
        (make_container(version="new"), KEYS, "it names no versions"),
        (make_container(kind="licence"), KEYS, "its kind is not patch"),
    ],
)
def test_what_is_refused_says_why_to_an_operator(tmp_path, content, keys, said):
    with pytest.raises(PatchRefused, match=said):
        check(written(tmp_path, content), keys)


@pytest.mark.parametrize(
    "bad",
    [
        member("../out-of-it"),
        member("/etc/passwd"),
        member("a\\b"),
        member("link", type=tarfile.SYMTYPE, linkname="/etc"),
        member("hard", type=tarfile.LNKTYPE, linkname="apply.sh"),
        member("null", type=tarfile.CHRTYPE),
        member("pipe", type=tarfile.FIFOTYPE),
    ],
)
def test_no_path_link_or_device_leaves_the_folder_even_if_the_vendor_signed_it(tmp_path, bad):
    path = written(tmp_path, make_container(make_archive(None, bad)))

    with pytest.raises(PatchRefused, match="The archive holds"):
        unpack(path, tmp_path / "inner" / "out", KEYS)

    assert not (tmp_path / "inner" / "out-of-it").exists()


def test_a_file_given_twice_is_written_once(tmp_path):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for content in (b"one", b"two"):
            made = tarfile.TarInfo("apply.sh")
            made.size = len(content)
            tar.addfile(made, io.BytesIO(content))
    path = written(tmp_path, make_container(packed.getvalue(), revert=None))

    with pytest.raises(OSError, match="exists"):
        unpack(path, tmp_path / "out", KEYS)


def test_a_script_that_the_archive_lacks_is_found_before_anything_runs(tmp_path):
    path = written(tmp_path, make_container(make_archive({"lib/a": b""})))

    with pytest.raises(PatchRefused, match=r"lacks the script 'apply\.sh'"):
        unpack(path, tmp_path / "out", KEYS)


def test_what_unpacks_to_far_more_than_its_size_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("booster_agent.container.SMALL", 1000)
    path = written(tmp_path, make_container(make_archive({"apply.sh": b"", "zeros": b"\0" * 2_000_000})))

    with pytest.raises(PatchRefused, match="unpacks to more"):
        unpack(path, tmp_path / "out", KEYS)
