from django.apps import AppConfig


class TerminalsConfig(AppConfig):
    name = "terminals"
    verbose_name = "POS terminals"

    def ready(self) -> None:
        from accounts.scope import of_visible_organizations
        from backoffice.visibility import register
        from terminals.models import Terminal

        register(Terminal, of_visible_organizations(Terminal))
