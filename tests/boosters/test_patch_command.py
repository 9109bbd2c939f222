"""`manage.py patch` from making a key to keeping the patch."""

import json
import stat
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from boosters.patch_models import Patch

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("patch_home")]


def manage(*arguments):
    out = StringIO()
    call_command("patch", *map(str, arguments), stdout=out)
    return out.getvalue()


@pytest.fixture
def built(tmp_path):
    """Make a key and a patch; return the patch's file and the public key."""
    folder = tmp_path / "content"
    folder.mkdir()
    (folder / "apply.sh").write_text("#!/bin/sh\nexit 0\n")
    manage("keygen", "acme-1", "--directory", tmp_path)
    out = tmp_path / "summer.bpatch"
    told = ["--product", "POS", "--name", "Summer", "--to", "1.2.0.0", "--fits-from", "1.1.0.0", "--fits-to", "1.2.0.0"]
    said = manage("build", folder, "--key", tmp_path / "acme-1.private.pem", *told, "--out", out)
    assert said == f"{out}: POS 1.2.0.0, fits 1.1.0.0 to 1.2.0.0.\n"
    return out, tmp_path / "acme-1.pem"


def test_a_key_pair_is_made_once_and_its_private_half_is_its_owners_alone(tmp_path):
    manage("keygen", "acme-1", "--directory", tmp_path)

    assert stat.S_IMODE((tmp_path / "acme-1.private.pem").stat().st_mode) == 0o600
    with pytest.raises(CommandError, match="File exists"):
        manage("keygen", "acme-1", "--directory", tmp_path)


def test_a_built_patch_is_shown_verified_and_added(built, settings, tmp_path):
    file, public = built

    shown = json.loads(manage("show", file, "--public-key", public))
    verified = manage("verify", file, "--public-key", public)
    (tmp_path / "patch_keys" / public.name).write_bytes(public.read_bytes())
    added, again = manage("add", file), manage("add", file)

    patch = Patch.objects.get()
    assert (shown["version"], shown["size_bytes"], shown["key_id"]) == ("1.2.0.0", file.stat().st_size, "acme-1")
    assert verified == f"{file} is a patch to POS 1.2.0.0, signed with acme-1.\n"
    assert (added, again) == (f"POS 1.2.0.0 is kept as patch {patch.pk}.\n", "POS 1.2.0.0 was kept already.\n")
    assert manage("show").startswith(f"{patch.pk}: POS 1.2.0.0 (Summer), fits 1.1.0.0 to 1.2.0.0")


@pytest.mark.parametrize("door", ["verify", "add"])
def test_a_patch_of_an_unknown_vendor_ends_in_one_line_that_says_why(built, door):
    file, _ = built

    with pytest.raises(CommandError, match="signed with the key 'acme-1'; known are vendor-1"):
        manage(door, file)
    assert not Patch.objects.exists()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (["--to", "2"], "four numbers"),
        (["--fits-from", "1.3.0.0"], "No version lies from"),
        (["--apply", "missing.sh"], "lacks the script"),
        (["--key", "/nowhere.pem"], "No such file"),
    ],
)
def test_what_cannot_be_built_is_said_and_leaves_nothing(built, tmp_path, change, why):
    out = tmp_path / "other.bpatch"
    told = {
        "--key": tmp_path / "acme-1.private.pem",
        "--product": "POS",
        "--name": "Other",
        "--to": "1.2.0.0",
        "--fits-from": "1.1.0.0",
        "--fits-to": "1.2.0.0",
        "--out": out,
    } | dict([change])

    with pytest.raises(CommandError, match=why):
        manage("build", tmp_path / "content", *(part for pair in told.items() for part in pair))
    assert not out.exists()
