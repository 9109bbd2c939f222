from django.apps import AppConfig


class FleetConfig(AppConfig):
    name = "fleet"
    verbose_name = "Fleet"

    def ready(self) -> None:
        from fleet.reachability import write_of_terminals
        from terminals.reports import sighting_writers

        sighting_writers.append(write_of_terminals)
