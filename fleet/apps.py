from django.apps import AppConfig


class FleetConfig(AppConfig):
    name = "fleet"
    verbose_name = "Fleet"

    def ready(self) -> None:
        from backoffice.visibility import register
        from fleet import pulse, scope
        from fleet.models import Incident, Maintenance, Reachability
        from fleet.reachability import write_of_terminals
        from fleet.telling import KINDS
        from notices import kinds
        from routing import watcher
        from terminals.reports import sighting_writers

        sighting_writers.append(write_of_terminals)
        for kind, label in KINDS.items():
            kinds.register(kind, label)
        watcher.beats.append(pulse.receive)
        register(Incident, scope.visible_incidents)
        register(Maintenance, scope.visible_maintenance)
        register(Reachability, scope.visible_reachability)
