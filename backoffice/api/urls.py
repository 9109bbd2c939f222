"""The addresses below /api/."""

from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.routers import SimpleRouter

from boosters.api.urls import collections as boosters
from fleet.api.urls import collections as fleet
from notices.api.urls import collections as notices
from organizations.api.urls import collections as organizations
from preferences.api.urls import collections as preferences
from servers.api.urls import collections as servers
from services.api.urls import collections as services
from terminals.api.urls import collections as terminals

router = SimpleRouter(use_regex_path=False)
rooms = (organizations, services, preferences, servers, terminals, fleet, notices, boosters)
for name, collection in (item for collections in rooms for item in collections.items()):
    router.register(name, collection, basename=name)

urlpatterns = [
    path("v1/terminal/", include("terminals.api.device")),
    path("v1/terminal/", include("routing.api.terminal")),
    path("v1/agent/", include("boosters.api.agent")),
    path("v1/agent/", include("boosters.api.patch_doors")),
    path("v1/agent/", include("boosters.api.documents_door")),
    path("v1/", include("boosters.api.keys_door")),
    path("v1/servers/", include("routing.api.question")),
    path("v1/routing/", include("routing.api.urls")),
    path("v1/license/", include("licensing.api.urls")),
    path("v1/servers/", include("fleet.api.urls")),
    path("v1/", include("boosters.api.urls")),
    path("v1/", include(router.urls)),
    path("schema/", SpectacularAPIView.as_view(), name="schema"),
    path("docs/", SpectacularSwaggerSplitView.as_view(url_name="api:schema"), name="docs"),
]
