from django.apps import AppConfig


class ServersConfig(AppConfig):
    name = "servers"
    verbose_name = "Mobile servers"

    def ready(self) -> None:
        from organizations.tree import client_bindings
        from servers.definition import assignments_below

        client_bindings.append(assignments_below)
