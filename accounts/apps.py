from django.apps import AppConfig
from django.db.models.signals import post_migrate, pre_delete


class AccountsConfig(AppConfig):
    name = "accounts"
    verbose_name = "People"

    def ready(self) -> None:
        from accounts.roles import make_roles
        from accounts.scope import (
            is_limited,
            refuse_while_somebody_is_limited_to,
            visible_events,
            visible_organizations,
        )
        from backoffice.visibility import limits, register
        from events.models import Event
        from organizations.models import Organization

        post_migrate.connect(make_roles, dispatch_uid="accounts.roles.make_roles")
        pre_delete.connect(refuse_while_somebody_is_limited_to, sender=Organization)
        limits.append(is_limited)
        register(Organization, visible_organizations)
        register(Event, visible_events)
