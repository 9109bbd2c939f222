from django.apps import AppConfig


class PreferencesConfig(AppConfig):
    name = "preferences"
    verbose_name = "Preferences"

    def ready(self) -> None:
        from accounts.scope import of_visible_organizations
        from backoffice.visibility import register
        from preferences.models import PreferenceValue

        register(PreferenceValue, of_visible_organizations(PreferenceValue))
