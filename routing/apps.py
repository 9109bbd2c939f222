from django.apps import AppConfig
from django.db.models.signals import post_migrate


class RoutingConfig(AppConfig):
    name = "routing"
    verbose_name = "Routing"

    def ready(self) -> None:
        from routing import revision

        post_migrate.connect(revision.install_triggers, dispatch_uid="routing.revision.install_triggers")
        revision.announce_changes()
