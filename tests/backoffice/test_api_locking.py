"""Two writers at once, on real transactions."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.db import connections

from tests.backoffice.api import as_user
from tests.backoffice.world import make_world

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize(
    ("collection", "change"),
    [
        ("organizations", {"name": "{number}"}),
        ("services", {"timeout_s": "{number}"}),
        ("preferences", {"value": "{number}"}),
        ("servers", {"priority": "{number}"}),
        ("terminals", {"name": "{number}"}),
    ],
)
def test_of_two_changes_to_one_version_only_the_first_is_made(collection, change):
    url = f"/api/v1/{collection}/{make_world()[1][collection].pk}/"
    clients = [as_user(), as_user()]
    etag = clients[0].get(url)["ETag"]
    start = Barrier(2)

    def write(number):
        body = {name: value.format(number=number) for name, value in change.items()}
        start.wait()
        try:
            return clients[number - 3].patch(url, body, headers={"If-Match": etag}).status_code
        finally:
            connections.close_all()

    with ThreadPoolExecutor(2) as pool:
        statuses = sorted(pool.map(write, (3, 4)))

    assert statuses == [200, 412]
