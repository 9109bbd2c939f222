"""Patches from the command line: the vendor's side (keygen, build) and the installation's."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError
from django.utils import timezone

from backoffice.refusals import Refusal
from backoffice.signed_text import KEY_ID, key_id_of, make_key_pair, read_private_key, read_public_key
from boosters.patch_files import PIECE, SUFFIX, Checked, Description, build, check, vendor_keys
from boosters.patch_models import Patch
from boosters.patches import upload


class Command(BaseCommand):
    help = "Make keys and patches (the vendor), look at, check and add patches (everybody)."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        doors = parser.add_subparsers(dest="door", metavar="COMMAND", required=True)
        keygen = doors.add_parser("keygen", help="make a key pair to sign patches with")
        keygen.add_argument("key_id", type=_key_id, help="names the key in patches, for example acme-2026")
        keygen.add_argument("--directory", type=Path, default=Path(), help="where the two files go (default: here)")

        making = doors.add_parser("build", help="make a patch of a folder")
        making.add_argument("folder", type=Path, help="what the patch holds, with its scripts")
        making.add_argument("--key", type=Path, required=True, help="the vendor's private key, NAME.private.pem")
        making.add_argument("--key-id", type=_key_id, help="the key's id (default: NAME of the file)")
        making.add_argument("--product", required=True)
        making.add_argument("--name", required=True, help="of the patch, for people")
        making.add_argument("--to", required=True, dest="to_version", help="the version a server has with it: 1.2.0.0")
        making.add_argument("--fits-from", required=True, help="the lowest installed version it fits")
        making.add_argument("--fits-to", required=True, help="the highest installed version it fits")
        making.add_argument("--apply", default="apply.sh", help="the script that applies it (default: apply.sh)")
        making.add_argument("--revert", help="the script that takes it back (default: it cannot be taken back)")
        making.add_argument("--notes", default="", help="what people should know")
        making.add_argument("--out", type=Path, required=True, help=f"the {SUFFIX} file to write")

        show = doors.add_parser("show", help="print what a patch file holds, or the patches that are kept")
        show.add_argument("file", type=Path, nargs="?")
        verify = doors.add_parser("verify", help="check a patch file whole; exit status 1 if it is refused")
        verify.add_argument("file", type=Path)
        for looking in (show, verify):
            looking.add_argument("--public-key", type=Path, help="check with this key instead of those known here")
        adding = doors.add_parser("add", help="upload a patch file, as the window does")
        adding.add_argument("file", type=Path)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            getattr(self, options["door"])(**options)
        except Refusal as refusal:
            raise CommandError(refusal.detail) from refusal
        except OSError as error:
            raise CommandError(f"{error.filename}: {error.strerror}.") from error
        except ValueError as error:
            raise CommandError(str(error)) from error
        except DatabaseError as error:
            raise CommandError("The database does not answer, or 'manage.py migrate' was not run.") from error

    def keygen(self, *, key_id: str, directory: Path, **options: Any) -> None:
        private, public = make_key_pair(directory, key_id)
        self.stdout.write(f"{private} signs patches: keep it with the vendor alone.")
        self.stdout.write(f"{public} checks them: it goes into BOOSTER_PATCH_KEYS of every node and agent.")

    def build(self, *, folder: Path, key: Path, key_id: str | None, out: Path, **options: Any) -> None:
        if not folder.is_dir():
            raise CommandError(f"{folder} is no folder.")
        told = Description(
            product=options["product"],
            name=options["name"],
            version=options["to_version"],
            fits_from=options["fits_from"],
            fits_to=options["fits_to"],
            size_bytes=0,
            sha256="",
            apply=options["apply"],
            revert=options["revert"],
            notes=options["notes"],
        )
        made = build(folder, out, told, read_private_key(key), key_id or key_id_of(key))
        fits = made.description.fits
        self.stdout.write(f"{out}: {made.description.product} {made.description.version}, fits {fits}.")

    def show(self, *, file: Path | None, public_key: Path | None, **options: Any) -> None:
        if file is not None:
            checked = _checked(file, public_key)
            told = asdict(checked.description) | {
                "archive": {"size_bytes": checked.description.size_bytes, "sha256": checked.description.sha256},
                "size_bytes": checked.size_bytes,
                "sha256": checked.sha256,
            }
            self.stdout.write(json.dumps(told, indent=2, ensure_ascii=False))
            return
        for patch in Patch.objects.all():
            fits = f"fits {patch.fits_from} to {patch.fits_to}"
            self.stdout.write(f"{patch.pk}: {patch} ({patch.name}), {fits}, {patch.size_bytes} bytes")

    def verify(self, *, file: Path, public_key: Path | None, **options: Any) -> None:
        description = _checked(file, public_key).description
        about = f"{description.product} {description.version}, signed with {description.key_id}"
        self.stdout.write(f"{file} is a patch to {about}.")

    def add(self, *, file: Path, **options: Any) -> None:
        patch, is_new = upload(_pieces(file), timezone.now(), actor_name="manage.py patch", file_name=file.name)
        self.stdout.write(f"{patch} is kept as patch {patch.pk}." if is_new else f"{patch} was kept already.")


def _checked(file: Path, public_key: Path | None) -> Checked:
    if public_key is None:
        return check(file, vendor_keys())
    try:
        return check(file, {public_key.stem: read_public_key(public_key)})
    except ValueError as error:
        raise CommandError(f"{public_key} holds no Ed25519 public key.") from error


def _pieces(file: Path) -> Iterator[bytes]:
    with file.open("rb") as stream:
        while piece := stream.read(PIECE):
            yield piece


def _key_id(text: str) -> str:
    if not KEY_ID.fullmatch(text):
        raise argparse.ArgumentTypeError("up to 40 letters, digits, '_' and '-' are needed")
    return text
