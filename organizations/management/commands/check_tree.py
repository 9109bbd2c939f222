"""Check the organization tree, and repair what can be."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from organizations.integrity import find_faults, fix


class Command(BaseCommand):
    help = "Compare the tree's derived columns with the parents; exit status 1 when any is wrong."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--fix", action="store_true", help="lay the derived columns out anew")

    def handle(self, *args: Any, **options: Any) -> None:
        faults = find_faults()
        for fault in faults:
            self.stdout.write(str(fault))
        if faults and options["fix"]:
            remaining = fix()
            self.stdout.write(f"Fixed {len(faults) - len(remaining)} of {len(faults)}.")
            faults = remaining
        if faults:
            raise CommandError(f"The tree has {len(faults)} fault{'s' if len(faults) > 1 else ''}.")
        self.stdout.write("The tree is sound.")
