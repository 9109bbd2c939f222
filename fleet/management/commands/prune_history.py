from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from backoffice.refusals import Refusal
from fleet.pruning import prune_history


class Command(BaseCommand):
    help = "Forget the servers' transitions and the closed incidents that are older than that many days."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--days", type=int, default=settings.BOOSTER_HISTORY_DAYS)

    def handle(self, **options: Any) -> None:
        try:
            pruned = prune_history(timezone.now(), options["days"])
        except Refusal as refusal:
            raise CommandError(refusal.detail) from refusal
        self.stdout.write(f"Forgot {pruned.transitions} transitions and {pruned.incidents} incidents.")
