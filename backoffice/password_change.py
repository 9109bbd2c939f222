"""A password that must be changed: until it is, a session opens nothing else."""

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.urls import reverse

OPEN_VIEWS = ("admin:password_change", "admin:logout", "admin:login", "admin:jsi18n")


class PasswordChangeMiddleware:
    """Send a logged-in user who must change his password to the form that does it.

    Looks only at requests that carry a session, so that the documents of terminals neither load a
    user nor vary by cookie.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if settings.SESSION_COOKIE_NAME not in request.COOKIES or request.path.startswith(settings.STATIC_URL):
            return self.get_response(request)
        user = request.user
        if not getattr(user, "must_change_password", False):
            return self.get_response(request)
        if request.path in {reverse(view) for view in OPEN_VIEWS}:
            return self.get_response(request)
        if not request.path.startswith("/api/"):
            return HttpResponseRedirect(reverse("admin:password_change"))
        problem = {
            "type": "/problems/password-change-required",
            "title": "The password must be changed first",
            "status": 403,
            "detail": "Log in to the windows and choose a new password.",
            "instance": request.path,
        }
        return JsonResponse(problem, status=403, content_type="application/problem+json")
