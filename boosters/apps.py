from django.apps import AppConfig


class BoostersConfig(AppConfig):
    name = "boosters"
    verbose_name = "Boosters"

    def ready(self) -> None:
        from backoffice.visibility import register
        from boosters import roll_out_metrics, rolling, telling
        from boosters.metrics import collect
        from boosters.patch_models import Patch, RollOut
        from boosters.scope import visible_patches, visible_roll_outs
        from fleet import metrics
        from notices import kinds

        metrics.collectors.extend([collect, roll_out_metrics.collect])
        register(Patch, visible_patches)
        register(RollOut, visible_roll_outs)
        for kind, label in {**rolling.KINDS, **telling.KINDS}.items():
            kinds.register(kind, label)
