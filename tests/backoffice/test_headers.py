"""The headers that tell browsers what the product's pages may do."""

import pytest

from backoffice.content_policy import POLICY
from tests.factories import make_admin

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("path", ["/admin/login/", "/admin/", "/api/docs/", "/api/v1/servers/", "/nowhere"])
def test_every_page_loads_from_and_sends_to_its_own_host_only(client, path):
    client.force_login(make_admin())

    answer = client.get(path)

    assert answer["Content-Security-Policy"] == POLICY
    assert (answer["X-Content-Type-Options"], answer["X-Frame-Options"]) == ("nosniff", "DENY")


def test_static_files_are_for_the_own_origin_only(client):
    answer = client.get("/static/backoffice/windows.js", HTTP_ORIGIN="https://elsewhere.example")

    assert answer.status_code == 200
    assert "Access-Control-Allow-Origin" not in answer
