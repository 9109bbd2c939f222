"""The door for Prometheus: off unless it has a token, and open to nothing else."""

from __future__ import annotations

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from django.views.decorators.http import require_safe

from backoffice.addresses import client_address
from backoffice.api.authentication import count_failure
from backoffice.api.problems import problem_of, problem_response
from backoffice.refusals import Refusal, Unauthenticated
from fleet.metrics import CONTENT_TYPE, exposition


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Answer with all metrics whoever sends the token; 401 without, 429 after too many wrong ones, 404 when off."""
    moment = timezone.now()
    try:
        if not settings.BOOSTER_METRICS_TOKEN:
            raise Http404
        _check(request.headers.get("Authorization", ""), client_address(request))
    except (Http404, Refusal) as refusal:
        answer: HttpResponse = problem_response(problem_of(refusal), request.path)
    else:
        answer = HttpResponse(exposition(moment), content_type=CONTENT_TYPE)
    answer["Cache-Control"] = "no-store"
    return answer


def _check(header: str, address: str) -> None:
    scheme, _, token = header.partition(" ")
    if scheme.lower() == "bearer" and constant_time_compare(token.strip(), settings.BOOSTER_METRICS_TOKEN):
        return
    if header:
        count_failure(address, timezone.now())
    raise Unauthenticated("Send the metrics token: Authorization: Bearer ….")
