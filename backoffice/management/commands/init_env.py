"""Fill the installation with the demo."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from backoffice.demo import fill
from backoffice.refusals import Refusal


class Command(BaseCommand):
    help = "Load the demo: a client with regions, stores, servers, services, terminals and two users."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--force", action="store_true", help="add the demo to an installation with other data")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            filled = fill(force=options["force"])
        except Refusal as refusal:
            raise CommandError(refusal.detail) from refusal
        if not filled.is_new:
            self.stdout.write("The demo is already there; nothing was changed.")
            return
        self.stdout.write(f"The demo is loaded. {filled.people}".strip())
