"""What the log keeps of a request, whatever its caller writes into it."""

import structlog
from django.http import HttpResponse
from django.test import RequestFactory

from backoffice.credentials import without_secrets
from backoffice.request_log import RequestLogMiddleware


def bound(**headers):
    """Return what is bound to the log while a request with `headers` is answered."""
    seen = {}

    def answer(request):
        seen.update(structlog.contextvars.get_contextvars())
        return HttpResponse()

    RequestLogMiddleware(answer)(RequestFactory().get("/", REMOTE_ADDR="192.0.2.1", **headers))
    return seen


def test_the_log_believes_no_forwarded_address_of_anybody(settings):
    forged = {"HTTP_X_FORWARDED_FOR": "10.9.9.9", "HTTP_FORWARDED": "for=10.9.9.9", "HTTP_X_REAL_IP": "10.9.9.9"}

    direct = bound(**forged)
    settings.BOOSTER_TRUSTED_PROXIES = ["192.0.2.1"]
    behind_proxy = bound(**forged)

    assert (direct["ip"], behind_proxy["ip"]) == ("192.0.2.1", "10.9.9.9")


def test_a_credential_in_a_log_line_loses_its_secret():
    token = "bst_terminal_abcdefghijkmnpqr." + "s" * 43

    line = without_secrets(None, "info", {"request": f"GET /api/v1/terminal/status?token={token}", "code": 401})

    assert line == {"request": "GET /api/v1/terminal/status?token=bst_terminal_abcdefghijkmnpqr.…", "code": 401}
