"""Taking patches in and keeping their files (OMF-24, OMF-35)."""

import errno
import os
import stat
from datetime import timedelta

import pytest
from django.core.files.storage import storages
from django.utils import timezone

from backoffice.refusals import Conflict, Unavailable
from boosters import patch_storage, patches
from boosters.patch_files import PatchRefused
from boosters.patch_models import Patch, PatchPart
from boosters.rolling import create
from events.models import Event
from tests.boosters.makers import KEY_ID, make_container, make_patch
from tests.factories import make_organization, make_server

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("patch_home")]
MIB = 2**20


def in_pieces(content, size=1000):
    return (content[start : start + size] for start in range(0, len(content), size))


def left():
    return sorted(path.name for path in patch_storage.directory().iterdir())


def test_an_accepted_patch_is_kept_for_this_node_alone_to_read_and_recorded():
    content = make_container()

    patch, is_new = patches.upload(in_pieces(content), timezone.now(), actor_name="ops", file_name="summer.bpatch")

    path = patch_storage.directory() / f"{patch.sha256}.bpatch"
    assert (is_new, path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (True, content, 0o600)
    assert left() == [path.name]
    assert (patch.version, patch.size_bytes, patch.key_id) == ("1.2.0.0", len(content), KEY_ID)
    event = Event.objects.get(kind="patch-uploaded")
    assert (event.actor_name, event.object_key, event.data["file_name"]) == (
        "ops",
        "Openbravo POS 1.2.0.0",
        "summer.bpatch",
    )


def test_the_same_file_again_changes_nothing():
    first, _ = patches.upload([make_container()], timezone.now())

    again, is_new = patches.upload([make_container()], timezone.now())

    assert (again, is_new, Patch.objects.count()) == (first, False, 1)


def test_the_other_node_has_the_file_without_another_upload_omf_24(settings, tmp_path):
    content = make_container()
    patch, _ = patches.upload([content], timezone.now())

    settings.DATA_DIR = tmp_path / "the other node"

    assert patch_storage.local(patch).read_bytes() == content
    assert left() == [f"{patch.sha256}.bpatch"]


def test_a_damaged_copy_is_fetched_anew_and_a_damaged_original_is_said(settings):
    patch, _ = patches.upload([make_container()], timezone.now())
    path = patch_storage.directory() / f"{patch.sha256}.bpatch"
    path.write_bytes(b"torn")

    assert len(patch_storage.local(patch).read_bytes()) == patch.size_bytes

    path.unlink()
    PatchPart.objects.update(content=b"wrong")
    with pytest.raises(Unavailable, match="damaged or gone: upload the patch again"):
        patch_storage.local(patch)
    assert left() == []


def test_a_bucket_keeps_the_file_instead_of_the_database_omf_24(settings, tmp_path):
    backend = "django.core.files.storage.FileSystemStorage"
    settings.STORAGES = settings.STORAGES | {
        "patches": {"BACKEND": backend, "OPTIONS": {"location": str(tmp_path / "bucket")}}
    }
    content = make_container()
    patch, _ = patches.upload([content], timezone.now())
    settings.DATA_DIR = tmp_path / "the other node"

    fetched = patch_storage.local(patch).read_bytes()

    assert (fetched, PatchPart.objects.count()) == (content, 0)
    assert storages["patches"].exists(f"{patch.sha256}.bpatch")


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda content: content[:-3], "wrong_size"),
        (lambda content: content[:-30] + bytes([content[-30] ^ 1]) + content[-29:], "wrong_digest"),
        (lambda content: b"not a patch\n" + content, "not_a_patch"),
    ],
    ids=["truncated", "one wrong byte", "something else"],
)
def test_what_is_refused_leaves_nothing_but_a_record_omf_35(spoil, code):
    with pytest.raises(PatchRefused) as refused:
        patches.upload([spoil(make_container())], timezone.now(), actor_name="ops", file_name="x")

    assert (refused.value.code, Patch.objects.count(), left()) == (code, 0, [])
    event = Event.objects.get(kind="patch-refused")
    assert (event.data["reason"], event.actor_name, event.cause) == (code, "ops", refused.value.detail[:255])


def test_without_a_vendors_key_every_patch_is_refused_with_what_to_do(settings, tmp_path):
    settings.BOOSTER_PATCH_KEYS = str(tmp_path / "none")

    with pytest.raises(PatchRefused, match="into the directory that BOOSTER_PATCH_KEYS names"):
        patches.upload([make_container()], timezone.now())


def test_a_patch_larger_than_configured_is_refused_and_leaves_nothing(settings):
    settings.BOOSTER_LARGEST_PATCH_MB = 1

    with pytest.raises(patch_storage.TooLargePatch, match=r"at most 1 MiB \(BOOSTER_LARGEST_PATCH_MB\)"):
        patches.upload(iter([bytes(MIB), b"x"]), timezone.now())

    assert left() == []


def full(*arguments, **options):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("where", ["os.fsync", "boosters.patch_storage.os.replace", "tempfile.mkstemp"])
def test_a_full_disk_is_said_and_nothing_is_left_behind(monkeypatch, where):
    monkeypatch.setattr(where, full)

    with pytest.raises(patch_storage.DiskFull, match=r"is full: nothing was kept\. Make room and try again"):
        patches.upload([make_container()], timezone.now())

    monkeypatch.undo()
    assert (Patch.objects.count(), PatchPart.objects.count()) == (0, 0)


def test_a_patch_with_roll_outs_cannot_be_deleted_and_one_without_goes_whole():
    patch = make_patch()
    make_server(client=make_organization("ACME"))
    create(patch, timezone.now())

    with pytest.raises(Conflict, match="has roll-outs"):
        patches.delete(patch, timezone.now())

    other = make_patch(version="1.3.0.0")
    patches.delete(other, timezone.now())
    assert list(Patch.objects.all()) == [patch]


def test_what_a_killed_process_left_is_swept_after_a_day_and_nothing_else():
    patch = make_patch()
    home = patch_storage.directory()
    now = timezone.now()
    long_ago = (now - timedelta(days=2)).timestamp()
    for name, moment in (
        (".incoming-old", long_ago),
        (".incoming-new", now.timestamp()),
        ("gone.bpatch", long_ago),
        ("notes.txt", long_ago),
    ):
        (home / name).write_bytes(b"x")
        os.utime(home / name, (moment, moment))
    os.utime(home / f"{patch.sha256}.bpatch", (long_ago, long_ago))

    swept = patch_storage.sweep(now)

    assert (swept, left()) == (2, sorted([".incoming-new", "notes.txt", f"{patch.sha256}.bpatch"]))
