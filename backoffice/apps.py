from django.apps import AppConfig
from django.contrib.admin import apps as admin_apps


class BackofficeConfig(AppConfig):
    name = "backoffice"
    verbose_name = "Back office"


class WindowsConfig(admin_apps.AdminConfig):
    default = False
    default_site = "backoffice.look.Site"
