from django.apps import AppConfig


class ServersConfig(AppConfig):
    name = "servers"
    verbose_name = "Mobile servers"

    def ready(self) -> None:
        from backoffice.visibility import register
        from organizations.tree import client_bindings
        from servers.definition import assignments_below
        from servers.models import MobileServer
        from servers.scope import visible_servers

        client_bindings.append(assignments_below)
        register(MobileServer, visible_servers)
