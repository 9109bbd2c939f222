"""Install or update a module from its manifest file."""

import sys
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from backoffice.refusals import Refusal
from services.manifest import install_manifest, standard_manifests


class Command(BaseCommand):
    help = "Install a module's mobile services from a manifest file, or update them to its newer version."

    def add_arguments(self, parser: CommandParser) -> None:
        source = parser.add_mutually_exclusive_group(required=True)
        source.add_argument("file", nargs="?", help="manifest file, - for standard input")
        source.add_argument("--standard", action="store_true", help="the manifests that ship with the product")
        parser.add_argument("--dry-run", action="store_true", help="say what would change, and change nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        files = [str(path) for path in standard_manifests()] if options["standard"] else [options["file"]]
        for file in files:
            try:
                data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
                result = install_manifest(data, dry_run=options["dry_run"])
            except OSError as error:
                raise CommandError(f"{file} cannot be read: {error.strerror}.") from error
            except Refusal as refusal:
                named = [f"{error.pointer or '/'}: {error.detail}" for error in refusal.errors]
                raise CommandError("\n".join([f"{file}: {refusal.detail}", *named])) from refusal
            self.stdout.write("\n".join(result.lines))
        if options["dry_run"]:
            self.stdout.write("Dry run: nothing was written.")
