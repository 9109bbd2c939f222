"""Make or revoke the token of the agent beside a server."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from servers.agent_tokens import issue_agent_token, revoke_agent_tokens
from servers.models import MobileServer


class Command(BaseCommand):
    help = "Print a new token for the Booster Agent of a server: this once, it cannot be shown again."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("key", help="mobile server key, in upper or lower case")
        parser.add_argument("--revoke", action="store_true", help="end the agent's tokens instead")

    def handle(self, *args: Any, **options: Any) -> None:
        server = MobileServer.objects.filter(key__iexact=options["key"]).first()
        if server is None:
            raise CommandError(f"There is no server with the key {options['key']}.")
        if options["revoke"]:
            count = revoke_agent_tokens(server.pk, timezone.now())
            self.stderr.write(f"{count} token{'' if count == 1 else 's'} of {server.key} revoked.")
        elif not server.is_active:
            raise CommandError(f"The server {server.key} is not active: its agent would be refused.")
        else:
            self.stdout.write(issue_agent_token(server.pk, timezone.now()).text)
