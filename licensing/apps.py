from django.apps import AppConfig
from django.db.models.signals import post_migrate


class LicensingConfig(AppConfig):
    name = "licensing"
    verbose_name = "Licensing"

    def ready(self) -> None:
        from events.log import keep
        from licensing.installation import ACCEPTED, NOTICE, REFUSED
        from licensing.start import note_start

        keep(ACCEPTED, REFUSED, NOTICE)  # the last so that nothing is noticed twice
        post_migrate.connect(note_start, sender=self, dispatch_uid="licensing.start.note_start")
