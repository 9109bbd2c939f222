from django.urls import path

from fleet.api.views import IncidentRecords, MaintenanceCollection, ServerUptimeView

collections = {"incidents": IncidentRecords, "maintenance": MaintenanceCollection}
urlpatterns = [path("<int:pk>/uptime/", ServerUptimeView.as_view(), name="server-uptime")]
