"""Register one more server, and print what its agent needs."""

import os
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from backoffice.refusals import Refusal
from boosters.join import Wanted, join
from organizations.models import Organization
from servers.models import ServerType

OWNER_ONLY = 0o600


class Command(BaseCommand):
    help = "Register a server unless it is already, and print its agent's configuration; twice prints the same."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="name of the server")
        parser.add_argument("--client", help="code of its client; may be left out where there is one")
        parser.add_argument("--url", default="", help="where terminals reach it; needed the first time")
        parser.add_argument("--type", default="", choices=["", *ServerType.values], help="default store")
        parser.add_argument("--key", default="", help="mobile server key; made from the name by default")
        parser.add_argument("--organization", action="append", default=[], metavar="CODE", help="serves this one only")
        parser.add_argument("--file", help="write the configuration to this file, mode 0600, instead of printing it")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            wanted = Wanted(
                options["name"],
                _client(options["client"]),
                options["url"],
                options["type"],
                options["key"],
                [_organization(code) for code in options["organization"]],
            )
            joined = join(wanted, timezone.now(), actor_name="join")
        except Refusal as refusal:
            raise CommandError(refusal.detail) from refusal
        except ValidationError as refusal:
            raise CommandError(" ".join(refusal.messages)) from refusal
        for note in joined.notes:
            self.stderr.write(note)
        if options["file"]:
            _write(Path(options["file"]), joined.file)
        else:
            self.stdout.write(joined.file, ending="")


def _client(code: str | None) -> Organization:
    clients = Organization.objects.clients()
    if code:
        found: Organization | None = clients.filter(code=code).first()
        if found is None:
            raise CommandError(f"There is no client with the code {code}.")
        return found
    only: list[Organization] = list(clients[:2])
    if len(only) != 1:
        raise CommandError("Say which client the server belongs to: --client CODE.")
    return only[0]


def _organization(code: str) -> Organization:
    found: Organization | None = Organization.objects.filter(code=code).first()
    if found is None:
        raise CommandError(f"There is no organization with the code {code}.")
    return found


def _write(path: Path, text: str) -> None:
    """Write the file for its owner only; one that was there is replaced whole."""
    fresh = path.with_name(f"{path.name}.new")
    try:
        fresh.unlink(missing_ok=True)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        fresh.replace(path)
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error.strerror}.") from error
