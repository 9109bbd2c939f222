from django.apps import AppConfig
from django.db.models.signals import post_migrate


class AccountsConfig(AppConfig):
    name = "accounts"
    verbose_name = "People"

    def ready(self) -> None:
        from accounts.roles import make_roles

        post_migrate.connect(make_roles, dispatch_uid="accounts.roles.make_roles")
