"""Give the user admin its first password again."""

from typing import Any

from django.core.management.base import BaseCommand

from accounts.administrators import RESET_PASSWORD, RESET_USERNAME, reset_administrator


class Command(BaseCommand):
    help = "Set the password of user admin to admin; the next login must change it."

    def handle(self, *args: Any, **options: Any) -> None:
        is_new = reset_administrator()
        self.stdout.write(
            f"User {RESET_USERNAME}{' was made and' if is_new else ''} has the password {RESET_PASSWORD}; "
            "the next login must change it."
        )
