"""Make an API token for a user."""

import re
from datetime import UTC, datetime, time, timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from accounts.models import User
from accounts.tokens import create_user_token

UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class Command(BaseCommand):
    help = "Print a new API token of a user: this once, it cannot be shown again."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("user", help="user name")
        parser.add_argument("--name", default="", help="what will use it")
        parser.add_argument("--read-only", action="store_true", help="the token can change nothing")
        parser.add_argument("--expires", metavar="WHEN", help="after 90m, 12h, 30d, 4w, or at 2027-01-31[T12:00:00Z]")

    def handle(self, *args: Any, **options: Any) -> None:
        user = User.objects.filter(username=options["user"], is_active=True).first()
        if user is None:
            raise CommandError(f"There is no active user {options['user']}.")
        expires_at = expiry(options["expires"], timezone.now()) if options["expires"] else None
        _, credential = create_user_token(
            user, name=options["name"][:60], is_read_only=options["read_only"], expires_at=expires_at
        )
        self.stdout.write(credential.text)


def expiry(text: str, moment: datetime) -> datetime:
    """Return when a token expires: a duration from `moment`, or a date or time (UTC unless it says)."""
    try:
        if matched := re.fullmatch(r"([0-9]+)([mhdw])", text):
            expires_at = moment + timedelta(**{UNITS[matched[2]]: int(matched[1])})
        elif date := parse_date(text):
            expires_at = datetime.combine(date, time(), UTC)
        else:
            parsed = parse_datetime(text)
            if parsed is None:
                raise ValueError
            expires_at = parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise CommandError(f"{text} is no duration such as 30d and no date such as 2027-01-31.") from error
    if expires_at <= moment:
        raise CommandError(f"{text} is in the past.")
    return expires_at
