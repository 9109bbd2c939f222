from django.apps import AppConfig


class ServersConfig(AppConfig):
    name = "servers"
    verbose_name = "Mobile servers"

    def ready(self) -> None:
        from backoffice.visibility import register
        from licensing import usage
        from organizations.tree import client_bindings
        from servers.definition import assignments_below
        from servers.models import MobileServer, ServerType, StatusTransition
        from servers.scope import visible_servers, visible_transitions

        client_bindings.append(assignments_below)
        register(MobileServer, visible_servers)
        register(StatusTransition, visible_transitions)
        servers = MobileServer.objects.order_by()
        usage.register("main_servers", servers.filter(server_type=ServerType.MAIN).count)
        usage.register("store_servers", servers.filter(server_type=ServerType.STORE).count)
