import json
import sys
from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand

from routing.audit import audit
from routing.checks import ERROR, Finding


class Command(BaseCommand):
    help = "Check the configuration by the rules K1 to K19; the exit status is 1 if there are errors."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="print the findings as a JSON list")

    def handle(self, **options: Any) -> None:
        findings = audit()
        if options["json"]:
            listed = [asdict(finding) for finding in findings]
            self.stdout.write(json.dumps(listed, ensure_ascii=False, indent=2))
        else:
            for finding in findings:
                self.stdout.write(_line(finding))
            errors = sum(finding.level == ERROR for finding in findings)
            self.stdout.write(f"{errors} errors, {len(findings) - errors} warnings")
        if any(finding.level == ERROR for finding in findings):
            sys.exit(1)


def _line(finding: Finding) -> str:
    about = " ".join(filter(None, (finding.organization, finding.server)))
    return f"{finding.rule} {finding.level} {about + ': ' if about else ''}{finding.message}"
