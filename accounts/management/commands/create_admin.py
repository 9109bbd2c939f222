"""Make an administrator without a prompt."""

import sys
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.administrators import create_administrator, one_time_password
from backoffice.refusals import Refusal


class Command(BaseCommand):
    help = "Make an administrator, with a password from a file or a generated one that is printed once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="user name")
        source = parser.add_mutually_exclusive_group(required=True)
        source.add_argument("--password-file", metavar="FILE", help="its first line is the password; - for stdin")
        source.add_argument("--generate", action="store_true", help="print a one-time password")

    def handle(self, *args: Any, **options: Any) -> None:
        generated = options["generate"]
        try:
            password = one_time_password() if generated else _first_line(options["password_file"])
            create_administrator(options["name"], password, must_change_password=generated)
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise CommandError(f"{options['password_file']} cannot be read: {reason}.") from error
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        except Refusal as refusal:
            raise CommandError(refusal.detail) from refusal
        self.stdout.write(
            f"User {options['name']}, one-time password {password}, to be changed at the first login."
            if generated
            else f"User {options['name']} can log in."
        )


def _first_line(file: str) -> str:
    text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    return text.partition("\n")[0].rstrip("\r")
