"""The ASGI application that granian serves: the edge for terminals, Django for the rest."""

import os
import warnings

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "backoffice.settings")

# WhiteNoise hands static files over as plain files; Django reads those in a thread and warns each time.
warnings.filterwarnings("ignore", message="StreamingHttpResponse must consume synchronous iterators")

django = get_asgi_application()

from django.conf import settings  # noqa: E402 - read only now

from backoffice.body_limit import BodyLimit  # noqa: E402 - rooms can only be imported once Django is set up
from backoffice.broken_bodies import BrokenBodies  # noqa: E402 - as above
from backoffice.kept_threads import KeptThreads  # noqa: E402
from boosters.larger_bodies import largest_body  # noqa: E402
from routing.edge import Edge  # noqa: E402 - rooms can only be imported once Django is set up
from routing.store import store  # noqa: E402

answering = KeptThreads(django, settings.BOOSTER_REQUEST_THREADS)
application = Edge(BrokenBodies(BodyLimit(answering, largest_body)), store)
