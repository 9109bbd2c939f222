from django.urls import path

from boosters.api.views import PatchRecords, RollOutRecords, VersionOverviewView

collections = {"patches": PatchRecords, "roll-outs": RollOutRecords}
urlpatterns = [path("version-overview/", VersionOverviewView.as_view(), name="version-overview")]
