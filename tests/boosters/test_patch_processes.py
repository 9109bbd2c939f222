"""Patches through the real web server: large bodies streamed in, files streamed out without holding threads."""

import re
import threading
import time

import httpx
import pytest
from django.test import Client
from django.utils import timezone

from boosters import rolling
from boosters.driver import drive
from boosters.patch_models import Patch
from servers.agent_tokens import issue_agent_token
from servers.models import ServerReport
from tests import serving
from tests.boosters.makers import FILES, make_archive, make_container, write_keys
from tests.factories import make_admin, make_organization, make_server, make_user_token

pytestmark = [pytest.mark.processes, pytest.mark.django_db(transaction=True)]
MIB = 2**20
BINARY = {"Content-Type": "application/octet-stream"}


def noise(size):
    """Return bytes that do not get smaller when packed."""
    import random

    return random.Random(1).randbytes(size)


def in_pieces(content):
    return (content[start : start + MIB] for start in range(0, len(content), MIB))


def upload_in_window(client, content):
    """Send a file as the window does, with the session of an administrator."""
    browser = Client()
    browser.force_login(make_admin())
    cookies = {"sessionid": browser.cookies["sessionid"].value}
    page = httpx.get(f"{client.base_url}/admin/patches/", cookies=cookies)
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page.text)[1]
    return httpx.post(
        f"{client.base_url}/admin/patches/upload/",
        data={"csrfmiddlewaretoken": token},
        files={"file": ("next.bpatch", content)},
        cookies=cookies | {"csrftoken": page.cookies["csrftoken"]},
        timeout=30,
    )


def test_a_large_patch_comes_in_and_many_agents_fetch_it_at_their_rate(tmp_path, settings):
    container = make_container(make_archive(FILES | {"big": noise(12 * MIB)}))
    administrator = {"Authorization": f"Bearer {make_user_token()}"}
    servers = [make_server(f"s{number}", client=make_organization(f"C{number}")) for number in range(6)]
    agents = [{"Authorization": f"Bearer {issue_agent_token(server.pk, timezone.now()).text}"} for server in servers]
    now = timezone.now()
    ServerReport.objects.bulk_create(
        ServerReport(server=server, software_version="1.1.0.0", reported_at=now) for server in servers
    )

    with serving.web_server(
        tmp_path / "data",
        DATABASE_URL=serving.test_database_url(),
        SECRET_KEY=settings.SECRET_KEY,
        TOKEN_DIGEST_KEY=settings.TOKEN_DIGEST_KEY,
        BOOSTER_PATCH_KEYS=str(write_keys(tmp_path / "patch_keys")),
        BOOSTER_LARGEST_PATCH_MB="13",
        BOOSTER_REQUEST_THREADS="2",
        REDIS_URL="",
    ) as client:

        def upload(content, **headers):
            # Each on a connection of its own: one that was refused in the middle is not used again.
            address = f"{client.base_url}/api/v1/patches/"
            return httpx.post(address, content=in_pieces(content), headers=BINARY | headers, timeout=30)

        stranger = upload(container)
        too_large = upload(noise(14 * MIB), **administrator)
        kept = upload(container, **administrator)
        assert (stranger.status_code, too_large.status_code, kept.status_code) == (413, 413, 201)

        in_window = upload_in_window(client, make_container(make_archive(FILES | {"big": noise(9 * MIB)}), name="Next"))
        assert (in_window.status_code, Patch.objects.count()) == (302, 2)

        rolling.create(Patch.objects.get(name="Summer release"), now, bytes_per_s=400_000)
        drive(now)
        file = client.get("/api/v1/agent/order", headers=agents[0]).json()["patch"]["file"]
        counts = [0] * len(agents)

        def fetch(index):
            with httpx.stream("GET", f"{client.base_url}{file}", headers=agents[index], timeout=10) as answer:
                for piece in answer.iter_raw():
                    counts[index] += len(piece)
                    if time.monotonic() > ends:
                        return

        ends = time.monotonic() + 2
        threads = [threading.Thread(target=fetch, args=(index,)) for index in range(len(agents))]
        for thread in threads:
            thread.start()
        time.sleep(1)
        asked = time.monotonic()
        others = client.get("/api/v1/patches/", headers=administrator)  # with two threads, and six streams open
        answered_after = time.monotonic() - asked
        for thread in threads:
            thread.join()
        rest = client.get(file, headers=agents[0] | {"Range": f"bytes={len(container) - 1000}-"})

    assert others.status_code == 200
    assert answered_after < 1
    assert all(200_000 < count < 1_600_000 for count in counts), counts
    assert (rest.status_code, rest.content) == (206, container[-1000:])
