"""Sending callers who forgot the final slash to the right address."""

from functools import partial

from django.http import HttpResponsePermanentRedirect
from django.middleware.common import CommonMiddleware


class SlashMiddleware(CommonMiddleware):
    """Redirect with 308, which keeps method and body.

    After Django's own 301 most programs repeat a POST as GET: they would take the list of a collection
    for the object they meant to create.
    """

    response_redirect_class = staticmethod(partial(HttpResponsePermanentRedirect, preserve_request=True))  # type: ignore[assignment]
