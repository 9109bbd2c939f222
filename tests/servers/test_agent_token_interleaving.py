"""A new token is made while an agent uses the last one for the first time: nobody waits for each other."""

import pytest
from django.db import connection
from django.utils import timezone

from backoffice import rolling_tokens
from servers.agent_tokens import issue_agent_token, note_first_use
from servers.models import AgentToken, MobileServer
from tests.factories import make_organization, make_server
from tests.interleaving import outcomes

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has one writer anyway")
def test_a_first_use_beside_a_roll_waits_before_it_holds_any_token():
    server = make_server("LyonBox", client=make_organization("ACME"))
    moment = timezone.now()
    for _ in range(2):
        issue_agent_token(server.pk, moment)
    old, new = AgentToken.objects.order_by("pk")

    def begin():
        MobileServer.objects.select_for_update().get(pk=server.pk)
        AgentToken.objects.filter(pk=old.pk).update(replaced_at=moment)  # as `issue` does, row by row

    found = outcomes(
        begin, lambda: note_first_use(new, moment), lambda: rolling_tokens.issue(server.agent_tokens, moment)
    )

    ends = AgentToken.objects.order_by("pk").values_list("first_used_at", "revoked_at", "replaced_at")
    assert found == [None, None]
    assert list(ends) == [(None, moment, moment), (moment, None, moment), (None, None, None)]
