"""Say what is wrong with this installation."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from backoffice.doctor import Level, examine


class Command(BaseCommand):
    help = "Look at database, migrations, tree, keys, clock and data directory; exit status 1 if anything is wrong."
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        wrong = 0
        for finding in examine():
            self.stdout.write(str(finding))
            wrong += finding.level is Level.WRONG
        if wrong:
            raise CommandError(f"{wrong} thing{'s are' if wrong > 1 else ' is'} wrong.")
