"""Two processes on one database: what one accepts is in force in the other."""

import time

import pytest
from django.conf import settings
from django.utils import timezone

from tests.factories import make_admin, make_user_token
from tests.licensing.makers import DAY, make_file, make_installation
from tests.serving import test_database_url as database_url
from tests.serving import web_server

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes, pytest.mark.usefixtures("vendor_keys")]
URL = "/api/v1/license/"


def test_an_upload_through_one_process_is_in_force_in_the_other_within_2_s(tmp_path, vendor_keys):
    """OMF-51"""
    now = timezone.now()
    make_installation(now - 30 * DAY)
    headers = {"Authorization": f"Bearer {make_user_token(make_admin())}"}
    environment = {
        "DJANGO_SETTINGS_MODULE": "tests.licensing.process_settings",
        "DATABASE_URL": database_url(),
        "SECRET_KEY": "k" * 60,
        "TOKEN_DIGEST_KEY": settings.TOKEN_DIGEST_KEY,
        "TEST_VENDOR_KEYS": str(vendor_keys),
    }
    file = make_file(issued_at=now, not_before=now - DAY, expires_at=now + 90 * DAY).decode()

    with web_server(tmp_path / "a", **environment) as one, web_server(tmp_path / "b", **environment) as other:
        before = [node.get(URL, headers=headers).json()["state"] for node in (one, other)]
        one.post(URL, headers=headers, json={"license": file}).raise_for_status()
        posted_at = time.monotonic()
        while other.get(URL, headers=headers).json()["state"] != "licensed":
            assert time.monotonic() - posted_at < 2

    assert before == ["none", "none"]
