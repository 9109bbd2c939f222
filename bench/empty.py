"""The product with an empty view in place of its own, and everything around it the same."""

from django.conf import settings

from backoffice.asgi import application

__all__ = ["application"]

settings.ROOT_URLCONF = "bench.empty_view"
