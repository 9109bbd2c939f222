"""Hand the right to act to the secondary Booster and back, and tell the seconds it took."""

import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from backoffice.refusals import Refusal
from boosters.acting_rule import PRACTICE_LIMIT
from boosters.pair import pair_standing
from boosters.practice import latest, practise

POLL_S = 0.2


class Command(BaseCommand):
    help = "Practise a takeover: the secondary acts for a few seconds, then the primary again."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            asked_at = practise(actor_name="practise_takeover")
        except Refusal as refusal:
            raise CommandError(refusal.detail) from refusal
        deadline = time.monotonic() + 2 * PRACTICE_LIMIT.total_seconds()
        while time.monotonic() < deadline:
            standing = pair_standing()
            practice = latest(standing.lease, standing.moment)
            if practice is not None and practice.asked_at == asked_at and practice.is_over:
                if practice.is_given_up:
                    raise CommandError(practice.text)
                self.stdout.write(practice.text)
                return
            time.sleep(POLL_S)
        raise CommandError("The primary did not take back in time: look at the window Booster nodes.")
