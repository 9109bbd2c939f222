"""Run a whole chain on this machine, let things fail, and tell what came of it."""

from __future__ import annotations

import logging
import sys
import tempfile
from dataclasses import fields
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

CLIENTS = Path(__file__).resolve().parents[3] / "clients"
MOST_TILLS, MOST_SECONDS, MOST_SALES = 200, 86_400, 6_000
WORDS = {
    "sold": "tickets sold",
    "delivered": "delivered",
    "synchronized": "confirmed by a main server",
    "lost": "lost",
    "doubled": "executed twice by a server",
    "refused": "refused",
    "waiting": "still waiting",
    "out_of_order": "out of a terminal's order",
    "lookups": "product lookups",
    "lookups_failed": "of them answered by nobody",
    "without_sale_s": "seconds in which a terminal could not sell",
    "drained_after_s": "seconds until the queues were empty",
}


class Command(BaseCommand):
    help = (
        "Simulate a chain on this machine: a Booster, two main and three store servers, terminals that sell, and a"
        " script of faults. Touches nothing of this installation. Exit status 1 if a ticket was lost or doubled."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--seconds", type=float, default=60, help="how long the shops are open (default 60)")
        parser.add_argument("--terminals", type=int, default=30, help="how many sell (default 30)")
        parser.add_argument("--sales-per-minute", type=float, default=20, help="of each terminal (default 20)")
        parser.add_argument("--seed", type=int, default=1, help="of chance: when they sell (default 1)")
        parser.add_argument("--script", type=Path, help='JSON file: [{"at": 0.1, "what": "line_cut", "whom": "NORTH"}]')

    def handle(self, *args: Any, **options: Any) -> None:
        for name, most in (("seconds", MOST_SECONDS), ("terminals", MOST_TILLS), ("sales_per_minute", MOST_SALES)):
            if not 0 < options[name] <= most:
                raise CommandError(f"--{name.replace('_', '-')} must be above 0 and at most {most}.", returncode=2)
        logging.getLogger("request_router").setLevel(logging.ERROR)  # what fails is told by the script
        # The terminals' and servers' programs are not part of the back office: they are found beside it.
        sys.path[:0] = [str(CLIENTS / name) for name in ("request_router", "reference_server")]
        from backoffice.simulation import DAY, Simulation, SimulationFailed, faults_of, file_limit_raised

        try:
            faults = faults_of(options["script"].read_text()) if options["script"] else DAY
            with tempfile.TemporaryDirectory(prefix="booster-simulation-") as folder, file_limit_raised():
                summary = Simulation(
                    Path(folder),
                    tills=options["terminals"],
                    seconds=options["seconds"],
                    sales_per_minute=options["sales_per_minute"],
                    seed=options["seed"],
                    faults=faults,
                    tell=self._tell,
                ).run()
        except SimulationFailed as error:
            raise CommandError(str(error)) from error
        except OSError as error:
            raise CommandError(f"{error.filename or 'The simulation'}: {error.strerror}.") from error
        self._tell("")
        for one in fields(summary):
            value = getattr(summary, one.name)
            number = f"{value:.1f}" if isinstance(value, float) else str(value)
            self._tell(f"{number:>8}  {WORDS[one.name]}")
        if not summary.is_good:
            raise CommandError("Not every ticket arrived once and in order.")
        self._tell("Every ticket arrived, once and in order.")

    def _tell(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()
