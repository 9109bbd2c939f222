from django.apps import AppConfig


class TerminalsConfig(AppConfig):
    name = "terminals"
    verbose_name = "POS terminals"

    def ready(self) -> None:
        from accounts.scope import of_visible_organizations
        from backoffice.visibility import register
        from licensing import usage
        from terminals.models import Terminal

        register(Terminal, of_visible_organizations(Terminal))
        usage.register("terminals", Terminal.objects.order_by().count)
