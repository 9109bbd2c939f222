"""Try a notice channel out from the command line."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from notices.channels import send_test
from notices.models import Channel


class Command(BaseCommand):
    help = "Send a test notice through a channel at once, and tell how that went."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("channel", help="the channel's name")

    def handle(self, *args: Any, **options: Any) -> None:
        channel = Channel.objects.filter(name=options["channel"]).first()
        if channel is None:
            names = ", ".join(Channel.objects.values_list("name", flat=True)) or "none"
            raise CommandError(f"There is no channel {options['channel']!r}. There are: {names}.")
        attempt = send_test(channel, timezone.now(), actor_name="manage.py send_test_notice")
        if not attempt.is_success:
            answer = f" It answered: {attempt.answer}" if attempt.answer else ""
            raise CommandError(f"The test was not delivered: {attempt.error}{answer}")
        self.stdout.write(f"The test was delivered to {channel.destination} in {attempt.took_ms} ms.")
