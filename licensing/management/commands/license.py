"""Licences from the command line: the vendor's side (keygen, issue) and the installation's."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError
from django.utils import timezone

from backoffice import signed_text
from backoffice.refusals import Refusal
from backoffice.signed_text import KEY_ID, key_id_of, make_key_pair, read_public_key, write_new
from licensing.files import LARGEST_FILE, License, read, sign, vendor_keys
from licensing.installation import standing, upload
from licensing.rules import headline
from licensing.usage import present_usage


class Command(BaseCommand):
    help = "Make keys and licences (the vendor), look at, check and install licences (everybody)."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        doors = parser.add_subparsers(dest="door", metavar="COMMAND", required=True)
        keygen = doors.add_parser("keygen", help="make a key pair to sign licences with")
        keygen.add_argument("key_id", type=_key_id, help="names the key in licences, for example 2026-1")
        keygen.add_argument("--directory", type=Path, default=Path(), help="where the two files go (default: here)")

        issue = doors.add_parser("issue", help="sign a licence")
        issue.add_argument("--key", type=Path, required=True, help="the vendor's private key, NAME.private.pem")
        issue.add_argument("--key-id", help="the key's id (default: NAME of the file)")
        issue.add_argument("--customer", required=True)
        issue.add_argument("--type", default="standard", help="standard, evaluation, unlimited (lifts all counts), …")
        issue.add_argument("--servers", type=_count, help="mobile servers (default: no limit)")
        issue.add_argument("--terminals", type=_count, help="POS terminals (default: no limit)")
        issue.add_argument("--feature", action="append", default=[], help="may be given several times")
        issue.add_argument("--not-before", type=_moment, help="start, such as 2027-01-01 (default: now)")
        issue.add_argument("--expires", type=_moment, help="end, such as 2028-01-01 (default: never)")
        issue.add_argument("--grace-days", type=_count, default=0, help="days it goes on after its end")
        issue.add_argument("--installation", help="the only installation id it is for (default: any)")
        issue.add_argument("--out", type=Path, help="the .lic file to write (default: print it)")

        show = doors.add_parser("show", help="print the content of a licence file, or where this installation stands")
        show.add_argument("file", type=Path, nargs="?")
        show.add_argument("--public-key", type=Path, help="check with this key instead of those of the product")
        verify = doors.add_parser("verify", help="check a licence file's signature; exit status 1 if it is refused")
        verify.add_argument("file", type=Path)
        verify.add_argument("--public-key", type=Path, help="check with this key instead of those of the product")
        install = doors.add_parser("install", help="install a licence file")
        install.add_argument("file", type=Path)
        install.add_argument("--confirm-older", action="store_true", help="replace a licence that was issued later")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            getattr(self, options["door"])(**options)
        except Refusal as refusal:
            raise CommandError(refusal.detail) from refusal
        except OSError as error:
            raise CommandError(f"{error.filename}: {error.strerror}.") from error
        except DatabaseError as error:
            raise CommandError("The database does not answer, or 'manage.py migrate' was not run.") from error

    def keygen(self, *, key_id: str, directory: Path, **options: Any) -> None:
        private, public = make_key_pair(directory, key_id)
        self.stdout.write(f"{private} signs licences: keep it with the vendor alone.")
        self.stdout.write(f"{public} checks them: it ships with the product, in licensing/vendor_keys.")

    def issue(self, *, key: Path, key_id: str | None, out: Path | None, **options: Any) -> None:
        try:
            private = signed_text.read_private_key(key)
        except ValueError as error:
            raise CommandError(str(error)) from error
        now = timezone.now().replace(microsecond=0)
        used = key_id or key_id_of(key)
        license_ = License(
            id=str(uuid4()),
            customer=options["customer"],
            type=options["type"],
            servers=options["servers"],
            terminals=options["terminals"],
            issued_at=now,
            not_before=options["not_before"] or now,
            expires_at=options["expires"],
            grace_days=options["grace_days"],
            features=tuple(options["feature"]),
            installation=options["installation"],
        )
        text = sign(license_, private, used)
        read(text.encode(), {used: private.public_key()})  # nothing leaves that would be refused
        if license_.expires_at is not None and license_.expires_at <= license_.not_before:
            raise CommandError("The licence would end before it begins.")
        if out is None:
            self.stdout.write(text)
            return
        write_new(out, f"{text}\n".encode(), 0o644)
        self.stdout.write(f"{out}: for {license_.customer}, number {license_.id}.")

    def show(self, *, file: Path | None, public_key: Path | None, **options: Any) -> None:
        if file is not None:
            self.stdout.write(_printed(_read(file, public_key)))
            return
        where = standing()
        usage = present_usage()
        self.stdout.write(f"{headline(where.status)}. Installation {where.installation_id}.")
        self.stdout.write(f"There are {usage.servers} mobile servers and {usage.terminals} POS terminals.")
        for title, stored in (("Licence", where.present), ("Next licence", where.upcoming)):
            if isinstance(stored, License):
                self.stdout.write(f"{title}: {_printed(stored)}")
        for line in filter(None, (where.status.reason, where.clock_warning)):
            self.stdout.write(line)

    def verify(self, *, file: Path, public_key: Path | None, **options: Any) -> None:
        license_ = _read(file, public_key)
        self.stdout.write(f"{file} is a licence for {license_.customer}, signed with {license_.key_id}.")

    def install(self, *, file: Path, confirm_older: bool, **options: Any) -> None:
        change = upload(
            _content(file), file_name=file.name, actor_name="manage.py license", confirm_older=confirm_older
        )
        for line in change.lines or ("Nothing changes: this very licence is stored already.",):
            self.stdout.write(line)
        self.stdout.write(f"{headline(standing().status)}.")


def _content(file: Path) -> bytes:
    with file.open("rb") as stream:
        return stream.read(LARGEST_FILE + 1)


def _read(file: Path, public_key: Path | None) -> License:
    data = _content(file)
    if public_key is None:
        return read(data, vendor_keys())
    try:
        return read(data, {public_key.stem: read_public_key(public_key)})
    except ValueError as error:
        raise CommandError(f"{public_key} holds no Ed25519 public key.") from error


def _printed(license_: License) -> str:
    told = {name: value for name, value in asdict(license_).items() if name != "other"} | dict(license_.other)
    return json.dumps(told, indent=2, ensure_ascii=False, default=lambda moment: moment.isoformat())


def _key_id(text: str) -> str:
    if not KEY_ID.fullmatch(text):
        raise argparse.ArgumentTypeError("up to 40 letters, digits, '_' and '-' are needed")
    return text


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError("a whole number is needed")
    return int(text)


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError("a day or time such as 2027-01-31 or 2027-01-31T12:00Z is needed") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
