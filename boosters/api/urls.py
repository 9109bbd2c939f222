from django.urls import path

from boosters.api.node_views import BoosterNodesView
from boosters.api.views import PatchRecords, RollOutRecords, VersionOverviewView

collections = {"patches": PatchRecords, "roll-outs": RollOutRecords}
urlpatterns = [
    path("version-overview/", VersionOverviewView.as_view(), name="version-overview"),
    path("booster-nodes/", BoosterNodesView.as_view(), name="booster-nodes"),
]
