from django.apps import AppConfig


class NoticesConfig(AppConfig):
    name = "notices"
    verbose_name = "Notices"

    def ready(self) -> None:
        from accounts.scope import of_visible_organizations
        from backoffice.visibility import register
        from events.log import listen
        from notices import kinds
        from notices.licences import tell_of_the_end
        from notices.models import Channel, Delivery, Notice
        from notices.visibility import visible_deliveries

        kinds.register(kinds.TEST, "Test")
        kinds.register(kinds.LICENSE_ENDS, "The licence or the trial ends soon")
        register(Channel, of_visible_organizations(Channel))
        register(Notice, of_visible_organizations(Notice))
        register(Delivery, visible_deliveries)
        listen(tell_of_the_end)
