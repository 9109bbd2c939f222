"""The address /api/v1/license/."""

from django.urls import path

from licensing.api.views import LicenseView

urlpatterns = [path("", LicenseView.as_view(), name="license")]
