from django.apps import AppConfig


class BoostersConfig(AppConfig):
    name = "boosters"
    verbose_name = "Boosters"
