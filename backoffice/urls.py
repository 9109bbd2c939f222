from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from backoffice.api.urls import urlpatterns as api_urlpatterns
from backoffice.metrics import metrics

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/routing/", include(("routing.pages", "routing"))),
    path("admin/fleet/", include(("fleet.pages", "fleet"))),
    path("admin/booster-nodes/", include(("boosters.node_pages", "pair"))),
    path("admin/system-settings/", include(("licensing.pages", "licensing"))),
    path("admin/", include(("boosters.pages", "boosters"))),
    path("admin/", admin.site.urls),
    path("metrics", metrics, name="metrics"),
    path("api/", include((api_urlpatterns, "api"))),
]

handler400 = "backoffice.api.problems.bad_request"
handler403 = "backoffice.api.problems.permission_denied"
handler404 = "backoffice.api.problems.page_not_found"
handler500 = "backoffice.api.problems.server_error"
