from django.apps import AppConfig


class BoostersConfig(AppConfig):
    name = "boosters"
    verbose_name = "Boosters"

    def ready(self) -> None:
        from backoffice.visibility import register
        from boosters import rolling, telling
        from boosters.metrics import collect
        from boosters.patch_models import Patch, RollOut
        from boosters.scope import visible_patches, visible_roll_outs
        from fleet import metrics
        from notices import kinds

        metrics.collectors.append(collect)
        register(Patch, visible_patches)
        register(RollOut, visible_roll_outs)
        for kind, label in {**rolling.KINDS, **telling.KINDS}.items():
            kinds.register(kind, label)
