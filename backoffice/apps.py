from django.apps import AppConfig
from django.contrib.admin import apps as admin_apps


class BackofficeConfig(AppConfig):
    name = "backoffice"
    verbose_name = "Back office"

    def ready(self) -> None:
        from backoffice import celery  # noqa: F401 - makes shared tasks belong to our Celery application


class WindowsConfig(admin_apps.AdminConfig):
    default = False
    default_site = "backoffice.look.Site"
