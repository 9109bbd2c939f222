"""Channels, notices and deliveries over REST."""

from datetime import UTC, datetime

import pytest
from django.core import mail

from accounts.scope import READ_ONLY, SYSTEM_ADMINISTRATOR
from notices import kinds
from notices.channels import roll_secret
from notices.delivery import deliver_due, settle
from notices.models import Channel, Delivery, Notice
from notices.outbox import tell
from notices.sealing import unseal
from notices.sending import Outcome
from tests.backoffice.api import as_user, outcome, pointers
from tests.factories import make_admin, make_channel, make_tree, make_user

pytestmark = pytest.mark.django_db

CHANNELS, NOTICES, DELIVERIES = "/api/v1/notice-channels/", "/api/v1/notices/", "/api/v1/notice-deliveries/"
HOOK = "https://hooks.example/services/T0K3N"
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


@pytest.fixture
def tree():
    return make_tree(ACME=None, NORTH="ACME", OSLO="NORTH", SOUTH="ACME")


def tell_all(key="incident-1", moment=NOON, **fields):
    tell("test", key=key, subject="LyonBox is lost", text="No heartbeat.", moment=moment, **fields)
    return Delivery.objects.filter(notice__key=key).order_by("pk")


def results(answer):
    assert answer.status_code == 200, answer.json()
    return answer.json()["results"]


def test_a_webhook_is_answered_with_its_secret_this_once(tree):
    new = {"name": "pager", "kind": "webhook", "url": HOOK, "organization": "OSLO", "kinds": ["license-ends-soon"]}

    answer = as_user().post(CHANNELS, new)

    channel = Channel.objects.get()
    oslo = tree["OSLO"].pk
    whole = {
        "id": channel.pk,
        "name": "pager",
        "kind": "webhook",
        "is_active": True,
        "recipients": [],
        "url": HOOK,
        "organization": "OSLO",
        "organization_ref": {"id": oslo, "url": f"/api/v1/organizations/{oslo}/", "display": "OSLO"},
        "kinds": ["license-ends-soon"],
    }
    read = as_user().get(f"{CHANNELS}{channel.pk}/")
    assert (answer.status_code, answer["Location"]) == (201, f"{CHANNELS}{channel.pk}/")
    assert answer.json() == {**whole, "secret": unseal(channel.sealed_secret)}
    assert (read.json(), read["ETag"]) == (whole, answer["ETag"])


def test_a_dry_run_makes_no_channel_and_tells_no_secret():
    answer = as_user().post(f"{CHANNELS}?dry_run=true", {"name": "pager", "kind": "webhook", "url": HOOK})

    assert (answer.status_code, answer.json()["secret"], Channel.objects.count()) == (201, None, 0)


def test_an_email_channel_has_no_secret():
    answer = as_user().post(CHANNELS, {"name": "office", "kind": "email", "recipients": ["a@acme.example"]})

    assert (answer.status_code, answer.json()["secret"], answer.json()["recipients"]) == (
        201,
        None,
        ["a@acme.example"],
    )


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"url": ""}, ("/url", "missing")),
        ({"url": "https://192.168.0.1/x"}, ("/url", "not_allowed")),
        ({"url": "https://[::1]/x"}, ("/url", "not_allowed")),
        ({"kind": "pigeon"}, ("/kind", "invalid_choice")),
        ({"kind": "email"}, ("/recipients", "missing")),
        ({"kind": "email", "recipients": ["nobody"]}, ("/recipients", "invalid")),
        ({"kind": "email", "recipients": ["a@b.example"] * 21}, ("/recipients", "max_length")),
        ({"kinds": ["gossip"]}, ("/kinds", "invalid_choice")),
        ({"kinds": "gossip"}, ("/kinds", "not_a_list")),
        ({"organization": "NOWHERE"}, ("/organization", "does_not_exist")),
        ({"name": "taken"}, ("/name", "unique")),
        ({"secret": "mine"}, ("/secret", "unknown_member")),
    ],
    ids=str,
)
def test_create_refuses_what_cannot_be_delivered_to(change, complaint):
    make_channel("taken")

    answer = as_user().post(CHANNELS, {"name": "pager", "kind": "webhook", "url": HOOK} | change)

    assert (answer.status_code, pointers(answer)) == (400, [complaint])
    assert Channel.objects.count() == 1


def test_a_channel_is_changed_and_keeps_its_secret():
    channel = make_channel("pager", kind="webhook", url=HOOK)
    secret = roll_secret(channel, NOON)

    answer = as_user().patch(f"{CHANNELS}{channel.pk}/", {"is_active": False})

    channel.refresh_from_db()
    assert (answer.status_code, "secret" in answer.json(), channel.is_active) == (200, False, False)
    assert unseal(channel.sealed_secret) == secret


def test_a_new_secret_is_answered_once():
    channel = make_channel("pager", kind="webhook", url=HOOK)
    former = roll_secret(channel, NOON)
    client = as_user()

    tried = client.post(f"{CHANNELS}{channel.pk}/secret/?dry_run=true")
    kept = unseal(Channel.objects.get().sealed_secret)
    made = client.post(f"{CHANNELS}{channel.pk}/secret/")
    refused = client.post(f"{CHANNELS}{make_channel('office').pk}/secret/")

    assert (tried.json(), kept) == ({"secret": None}, former)
    assert made.json() == {"secret": unseal(Channel.objects.get(name="pager").sealed_secret)}
    assert made.json()["secret"] != former
    assert outcome(refused) == (400, "/problems/invalid")


def test_a_test_is_sent_at_once(settings):
    channel = make_channel("office")
    client = as_user()

    settings.EMAIL_URL = ""
    failed = client.post(f"{CHANNELS}{channel.pk}/test/")
    settings.EMAIL_URL = "smtp://mail.example"
    delivered = client.post(f"{CHANNELS}{channel.pk}/test/")
    refused = client.post(f"{CHANNELS}{channel.pk}/test/?dry_run=true")

    told = failed.json()
    assert (failed.status_code, told["is_success"], told["error"]) == (
        200,
        False,
        "No mail server is configured: set EMAIL_URL.",
    )
    assert told["delivery"] == Delivery.objects.earliest("pk").pk
    assert (delivered.json()["is_success"], len(mail.outbox)) == (True, 1)
    assert pointers(refused) == [("?dry_run", "not_possible")]


def test_notices_are_listed_the_latest_first_and_filtered(tree):
    tell_all("old", NOON.replace(hour=8), organization=tree["OSLO"], data={"server": "lyon"})
    tell_all("new", NOON)
    client = as_user()

    notices = results(client.get(NOTICES))
    keys = {
        query: [notice["key"] for notice in results(client.get(f"{NOTICES}?{query}"))]
        for query in (
            "key=old",
            "kind=test",
            "kind=other",
            "since=2026-05-01T12:00:00Z",
            "until=2026-05-01T12:00:00Z",
            "organization=NORTH",
            "organization=NORTH&scope=subtree",
        )
    }

    oslo = tree["OSLO"].pk
    assert notices[1] == {
        "id": Notice.objects.get(key="old").pk,
        "at": "2026-05-01T08:00:00Z",
        "kind": "test",
        "key": "old",
        "subject": "LyonBox is lost",
        "text": "No heartbeat.",
        "organization": "OSLO",
        "organization_ref": {"id": oslo, "url": f"/api/v1/organizations/{oslo}/", "display": "OSLO"},
        "data": {"server": "lyon"},
    }
    assert keys == {
        "key=old": ["old"],
        "kind=test": ["new", "old"],
        "kind=other": [],
        "since=2026-05-01T12:00:00Z": ["new"],
        "until=2026-05-01T12:00:00Z": ["old"],
        "organization=NORTH": [],
        "organization=NORTH&scope=subtree": ["old"],
    }


def test_a_delivery_is_read_with_its_attempts_and_filtered(settings, time_machine):
    time_machine.move_to(NOON, tick=False)
    settings.EMAIL_URL = ""
    office = make_channel("office")
    delivery = tell_all().get()
    deliver_due()
    client = as_user()

    told = client.get(f"{DELIVERIES}{delivery.pk}/").json()

    [attempt] = told.pop("log")
    cause = "No mail server is configured: set EMAIL_URL."
    assert told == {
        "id": delivery.pk,
        "delivery_id": str(delivery.delivery_id),
        "notice": "incident-1",
        "notice_ref": {
            "id": delivery.notice_id,
            "url": f"{NOTICES}{delivery.notice_id}/",
            "display": "incident-1",
        },
        "channel": "office",
        "channel_ref": {"id": office.pk, "url": f"{CHANNELS}{office.pk}/", "display": "office"},
        "state": "waiting",
        "attempts": 1,
        "next_attempt_at": "2026-05-01T12:00:30Z",
        "delivered_at": None,
        "last_error": cause,
    }
    assert attempt == {
        "at": "2026-05-01T12:00:00Z",
        "is_success": False,
        "status": None,
        "took_ms": 0,
        "error": cause,
        "answer": "",
    }
    counts = {
        query: len(results(client.get(f"{DELIVERIES}?{query}")))
        for query in ("notice=incident-1", "notice=other", "channel=office", "state=waiting", "state=given_up")
    }
    assert counts == {
        "notice=incident-1": 1,
        "notice=other": 0,
        "channel=office": 1,
        "state=waiting": 1,
        "state=given_up": 0,
    }


def test_retry_starts_over_with_what_was_given_up_only():
    make_channel("office")
    delivery = tell_all().get()
    client = as_user()
    url = f"{DELIVERIES}{delivery.pk}/retry/"

    too_early = client.post(url)
    settle(delivery, Outcome("gone", is_final=True), NOON)
    repeated = client.post(url)

    assert outcome(too_early) == (409, "/problems/delivery-not-given-up")
    assert (repeated.status_code, repeated.json()["state"], repeated.json()["attempts"]) == (200, "waiting", 0)


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize(("url", "queries"), [(CHANNELS, 3), (NOTICES, 3), (DELIVERIES, 4)])
def test_a_list_takes_the_same_queries_for_any_number_of_rows(tree, django_assert_num_queries, url, queries, rows):
    client = as_user(make_admin())
    for number in range(rows):
        make_channel(f"channel {number}", organization=tree["OSLO"])
    for number in range(rows):
        tell_all(f"{number}", organization=tree["OSLO"])
    deliver_due()
    client.get(url)

    with django_assert_num_queries(queries):
        client.get(url)


# --- Who sees what ---


@pytest.fixture
def hook():
    channel = make_channel("pager", kind="webhook", url=HOOK)
    delivery = tell_all().get()
    settle(delivery, Outcome("The webhook answered 404.", 404, answer="no /services/T0K3N"), NOON)
    return channel


@pytest.mark.parametrize(
    ("caller", "url", "answer"),
    [
        (lambda: as_user(make_user(role=SYSTEM_ADMINISTRATOR)), HOOK, "no /services/T0K3N"),
        (lambda: as_user(make_user(role=READ_ONLY)), "https://hooks.example", ""),
        (lambda: as_user(make_admin(), is_read_only=True), "https://hooks.example", ""),
    ],
    ids=["administrator", "reader", "read-only token"],
)
def test_who_may_not_change_channels_reads_only_the_host_of_an_address(hook, caller, url, answer):
    client = caller()

    channel = client.get(f"{CHANNELS}{hook.pk}/").json()
    [delivery] = results(client.get(DELIVERIES))

    assert channel["url"] == url
    assert delivery["log"][0]["answer"] == answer


def test_a_limited_caller_sees_and_makes_channels_of_his_organizations_only(tree):
    user = make_user(role=SYSTEM_ADMINISTRATOR)
    user.organizations.add(tree["NORTH"])
    client = as_user(user)
    everything = make_channel("everything")
    make_channel("own", organization=tree["OSLO"])
    make_channel("south", organization=tree["SOUTH"])
    tell_all("oslo", organization=tree["OSLO"])
    tell_all("all")
    hidden = Delivery.objects.get(notice__key="oslo", channel=everything)
    new = {"name": "new", "kind": "email", "recipients": ["a@acme.example"]}

    seen = {
        "channels": [channel["name"] for channel in results(client.get(CHANNELS))],
        "notices": [notice["key"] for notice in results(client.get(NOTICES))],
        "deliveries": [(row["notice"], row["channel"]) for row in results(client.get(DELIVERIES))],
    }
    statuses = {
        "foreign channel": client.get(f"{CHANNELS}{everything.pk}/").status_code,
        "test of it": client.post(f"{CHANNELS}{everything.pk}/test/").status_code,
        "foreign delivery": client.post(f"{DELIVERIES}{hidden.pk}/retry/").status_code,
        "for everything": client.post(CHANNELS, new).status_code,
        "for another": client.post(CHANNELS, {**new, "organization": "SOUTH"}).status_code,
        "for his own": client.post(CHANNELS, {**new, "organization": "NORTH"}).status_code,
    }

    assert seen == {"channels": ["own"], "notices": ["oslo"], "deliveries": [("oslo", "own")]}
    assert statuses == {
        "foreign channel": 404,
        "test of it": 404,
        "foreign delivery": 404,
        "for everything": 403,
        "for another": 400,
        "for his own": 201,
    }


def test_a_limited_caller_does_not_widen_his_channel_to_everything(tree):
    user = make_user(role=SYSTEM_ADMINISTRATOR)
    user.organizations.add(tree["NORTH"])
    own = make_channel("own", organization=tree["OSLO"])

    answer = as_user(user).patch(f"{CHANNELS}{own.pk}/", {"organization": None})

    assert (answer.status_code, Channel.objects.get().organization) == (403, tree["OSLO"])


def test_every_kind_can_be_chosen_by_its_name():
    assert all(label for _, label in kinds.choices())
    assert ("license-ends-soon", "The licence or the trial ends soon") in kinds.choices()
    assert "test" not in dict(kinds.choices())
