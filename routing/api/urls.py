"""The addresses below /api/v1/routing/."""

from django.urls import path

from routing.api.views import ChecksView, ExplainView

urlpatterns = [
    path("explain/", ExplainView.as_view(), name="routing-explain"),
    path("checks/", ChecksView.as_view(), name="routing-checks"),
]
