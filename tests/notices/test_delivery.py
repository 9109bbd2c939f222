"""Delivering: at least once, by one sender at a time, again and again with longer waits."""

import hashlib
import hmac
import json
import logging
import smtplib
import threading
from datetime import UTC, datetime, timedelta

import pytest
from django.core import mail
from django.db import connection, connections, transaction
from django.utils import timezone

from backoffice.outbound import Policy
from backoffice.refusals import Conflict
from events.models import Event
from notices import delivery as rule
from notices.channels import roll_secret, send_test
from notices.delivery import BACK_OFF, LEASE, claim, deliver_again, deliver_due, due, prune, wait_after
from notices.models import Delivery, DeliveryAttempt, Notice
from notices.outbox import tell
from notices.sending import Outcome
from notices.tasks import deliver
from tests.answering import OK, saying, serving
from tests.factories import make_channel, make_tree, make_user

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
NO = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy"


@pytest.fixture(autouse=True)
def _noon(time_machine):
    time_machine.move_to(NOON, tick=False)


@pytest.fixture
def here(monkeypatch):
    """Let webhooks call servers of this machine."""
    for module in ("models", "sending"):
        monkeypatch.setattr(f"notices.{module}.webhook_policy", lambda: Policy(loopback=True))


class Sender:
    """Takes the place of what leaves the process: every attempt ends as the test says, the last end staying."""

    def __init__(self):
        self.ends = [Outcome()]
        self.sent = []

    def __call__(self, delivery, moment):
        self.sent.append((delivery.channel.name, delivery.notice.key))
        return self.ends.pop(0) if len(self.ends) > 1 else self.ends[0]


@pytest.fixture
def sender(monkeypatch):
    sender = Sender()
    monkeypatch.setattr(rule, "send", sender)
    return sender


def make_webhook(port, name="hook", **fields):
    channel = make_channel(name, kind="webhook", url=f"http://127.0.0.1:{port}/hooks/T0K3N", **fields)
    return channel, roll_secret(channel, NOON)


def tell_all(key="incident-1", **fields):
    tell("test", **{"key": key, "subject": "LyonBox is lost", "text": "No heartbeat.", "moment": NOON} | fields)
    return Delivery.objects.filter(notice__key=key).order_by("pk")


def states():
    return list(Delivery.objects.order_by("pk").values_list("state", "attempts", "next_attempt_at", "last_error"))


# --- Claims, leases and retries ---


def test_a_delivery_that_succeeds_is_delivered_and_logged(sender):
    make_channel("pager")
    sender.ends = [Outcome(status=204, took_ms=12)]
    tell_all()

    assert deliver() == 1
    assert deliver() == 0

    delivery = Delivery.objects.get()
    assert states() == [("delivered", 1, None, "")]
    assert delivery.delivered_at == NOON
    assert list(delivery.log.values_list("at", "is_success", "status", "took_ms", "error")) == [
        (NOON, True, 204, 12, "")
    ]


def test_a_failed_delivery_is_tried_again_with_longer_waits_and_then_given_up(sender, time_machine):
    make_channel("pager")
    tell_all()
    sender.ends = [Outcome("busy", status=503)]
    moment, waits = NOON, []

    for wait in (*BACK_OFF, None):
        assert deliver_due() == 1
        waits.append(wait_after(len(waits) + 1))
        if wait is None:
            break
        assert states() == [("waiting", len(waits), moment + wait, "busy")]
        time_machine.move_to(moment + wait - SECOND, tick=False)
        assert deliver_due() == 0
        moment += wait
        time_machine.move_to(moment, tick=False)

    assert waits == [*BACK_OFF, None]
    assert states() == [("given_up", 8, None, "busy")]
    assert moment - NOON == timedelta(hours=22, minutes=12, seconds=30)
    assert DeliveryAttempt.objects.filter(is_success=False, error="busy", status=503).count() == 8
    time_machine.move_to(moment + timedelta(days=30), tick=False)
    assert deliver_due() == 0


def test_a_final_refusal_is_given_up_at_once(sender):
    make_channel("pager")
    sender.ends = [Outcome("gone", status=410, is_final=True)]
    tell_all()

    deliver_due()

    assert states() == [("given_up", 1, None, "gone")]


def test_a_sender_that_is_killed_is_followed_by_another_once_its_lease_is_over(sender, time_machine):
    make_channel("pager")
    delivery = tell_all().get()
    assert claim(delivery, NOON)  # and nothing more: it was killed

    time_machine.move_to(NOON + LEASE - SECOND, tick=False)
    assert deliver_due() == 0
    time_machine.move_to(NOON + LEASE, tick=False)
    assert deliver_due() == 1

    assert states() == [("delivered", 2, None, "")]
    assert sender.sent == [("pager", "incident-1")]


def test_a_delivery_whose_senders_are_always_killed_is_given_up(sender, time_machine):
    make_channel("pager")
    tell_all()
    for number in range(8):
        time_machine.move_to(NOON + number * LEASE, tick=False)
        assert claim(due(timezone.now()).get(), timezone.now())

    time_machine.move_to(NOON + 8 * LEASE, tick=False)
    deliver_due()

    assert states() == [("given_up", 9, None, "Every attempt was broken off.")]
    assert sender.sent == []


def test_only_one_of_two_that_read_the_same_delivery_claims_it():
    make_channel("pager")
    first, second = tell_all().get(), Delivery.objects.get()

    assert [claim(first, NOON), claim(second, NOON)] == [True, False]


def test_a_failure_that_comes_after_the_lease_decides_nothing(sender):
    make_channel("pager")
    slow = tell_all().get()
    claim(slow, NOON)
    quick = due(NOON + LEASE).get()
    claim(quick, NOON + LEASE)
    rule.settle(quick, Outcome(), NOON + LEASE)

    rule.settle(slow, Outcome("too late"), NOON + LEASE + SECOND)

    assert states() == [("delivered", 2, None, "")]
    assert sorted(DeliveryAttempt.objects.values_list("is_success", flat=True)) == [False, True]


def test_a_success_that_comes_after_the_lease_counts(sender):
    make_channel("pager")
    slow = tell_all().get()
    claim(slow, NOON)
    claim(due(NOON + LEASE).get(), NOON + LEASE)

    rule.settle(slow, Outcome(), NOON + LEASE + SECOND)

    assert [state for state, *_ in states()] == ["delivered"]


def test_a_channel_that_fails_waits_for_the_next_round_and_others_do_not(sender):
    make_channel("dead", kinds=["license-ends-soon"])
    make_channel("alive")
    for number in range(3):
        tell("license-ends-soon", key=f"{number}", subject="s", text="", moment=NOON)
    sender.ends = [Outcome("dead"), Outcome()]

    deliver_due()

    assert sender.sent == [("dead", "0"), ("alive", "0"), ("alive", "1"), ("alive", "2")]


def test_a_round_starts_nothing_after_its_time(sender, monkeypatch):
    make_channel("pager")
    for number in range(3):
        tell_all(f"{number}")
    clock = iter([0.0, 0.0, 4.9, 5.0])
    monkeypatch.setattr(rule.time, "monotonic", lambda: next(clock))

    assert deliver_due() == 2

    assert [state for state, *_ in states()] == ["delivered", "delivered", "waiting"]


def test_what_waits_for_a_channel_that_was_switched_off_is_given_up(sender):
    channel = make_channel("pager")
    tell_all()
    channel.is_active = False
    channel.save()

    deliver_due()

    assert states() == [("given_up", 1, None, "The channel is not active.")]
    assert sender.sent == []


@pytest.mark.parametrize("rows", [1, 3])
def test_a_round_takes_five_queries_for_each_delivery_and_two_more(sender, django_assert_num_queries, rows):
    make_channel("pager")
    for number in range(rows):
        tell_all(f"{number}")

    # For each: claim, savepoint, outcome, log, release; then the look for what is due, twice.
    with django_assert_num_queries(2 + 5 * rows):
        deliver_due()


@pytest.mark.django_db(transaction=True)
def test_several_senders_never_send_one_delivery_twice(sender):
    make_channel("pager")
    for number in range(20):
        tell_all(f"{number}")
    begin = threading.Barrier(4)
    failures = []

    def work():
        try:
            begin.wait()
            deliver_due(budget_s=60)
        except Exception as error:
            failures.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert sorted(sender.sent) == sorted(("pager", f"{number}") for number in range(20))
    assert set(Delivery.objects.values_list("state", "attempts")) == {("delivered", 1)}


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "postgresql", reason="needs two writers at one time")
def test_a_claim_waits_for_another_that_is_not_committed_yet_and_loses():
    make_channel("pager")
    tell_all()
    first, second = Delivery.objects.get(), Delivery.objects.get()
    results = []

    def rival():
        try:
            results.append(claim(second, NOON))
        finally:
            connections.close_all()

    thread = threading.Thread(target=rival)
    with transaction.atomic():
        assert claim(first, NOON)
        thread.start()
        thread.join(0.3)
        assert thread.is_alive()
    thread.join()

    assert results == [False]


# --- Deliver again, tests, pruning ---


def test_deliver_again_starts_over_and_tells_who_did_it(sender):
    user = make_user("ida")
    make_channel("pager")
    sender.ends = [Outcome("gone", is_final=True), Outcome()]
    delivery = tell_all().get()
    deliver_due()

    deliver_again(delivery, NOON, actor=user)
    waiting = states()
    deliver_due()

    assert waiting == [("waiting", 0, NOON, "gone")]
    assert states() == [("delivered", 1, None, "")]
    event = Event.objects.get(kind="notice-delivery-repeated")
    assert (event.actor, event.object_key, event.data) == (user, "incident-1", {"channel": "pager"})


def test_deliver_again_is_refused_for_what_was_not_given_up(sender):
    make_channel("pager")
    delivery = tell_all().get()
    refused = []
    for _ in range(2):
        with pytest.raises(Conflict, match="Only a delivery that was given up"):
            deliver_again(delivery, NOON)
        refused.append(states()[0][0])
        deliver_due()

    assert refused == ["waiting", "delivered"]


def test_send_test_delivers_at_once_through_one_channel_only(sender):
    ida = make_user("ida")
    make_channel("other")
    pager = make_channel("pager", is_active=False)

    told = send_test(pager, NOON, actor=ida)

    assert told.is_success
    assert sender.sent == [("pager", Notice.objects.get().key)]
    assert Notice.objects.get().subject == "Test of the notice channel pager"
    assert states() == [("delivered", 1, None, "")]


def test_a_failed_test_is_told_and_not_repeated(sender, time_machine):
    sender.ends = [Outcome("busy", status=503)]

    told = send_test(make_channel("pager"), NOON, actor_name="a command")
    time_machine.move_to(NOON + timedelta(days=1), tick=False)

    assert (told.is_success, told.error) == (False, "busy")
    assert deliver_due() == 0
    assert states() == [("given_up", 1, None, "busy")]


def test_prune_deletes_old_notices_with_their_deliveries_and_attempts(sender):
    make_channel("pager")
    tell_all("old", moment=NOON - timedelta(days=2))
    tell_all("new")
    deliver_due()

    assert prune(NOON - timedelta(days=1)) == 1

    assert list(Delivery.objects.values_list("notice__key", flat=True)) == ["new"]
    assert DeliveryAttempt.objects.count() == 1


# --- Webhooks ---


def test_a_webhook_gets_the_notice_signed(here):
    store = make_tree(ACME=None, OSLO="ACME")["OSLO"]
    with serving(saying(OK)) as (port, requests):
        _, secret = make_webhook(port)
        delivery = tell_all(organization=store, data={"server": "lyon"}, subject="Lyon – lost").get()
        deliver_due()

    head, _, body = requests[0].encode("latin-1").partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines[1:])
    timestamp = str(int(NOON.timestamp()))
    expected = hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    assert lines[0] == "POST /hooks/T0K3N HTTP/1.1"
    assert json.loads(body) == {
        "id": str(delivery.delivery_id),
        "kind": "test",
        "key": "incident-1",
        "at": "2026-05-01T12:00:00Z",
        "subject": "Lyon – lost",
        "text": "No heartbeat.",
        "organization": "OSLO",
        "data": {"server": "lyon"},
    }
    assert {name: value for name, value in headers.items() if name.startswith(("X-", "Content-Type"))} == {
        "Content-Type": "application/json",
        "X-Booster-Delivery": str(delivery.delivery_id),
        "X-Booster-Timestamp": timestamp,
        "X-Booster-Signature": f"v1={expected}",
    }
    assert states() == [("delivered", 1, None, "")]


def test_a_repeated_webhook_call_has_the_same_id_and_body_and_a_signature_of_its_own(here, time_machine):
    with serving(saying(NO)) as (port, requests):
        make_webhook(port)
        tell_all()
        deliver_due()
        time_machine.move_to(NOON + BACK_OFF[0], tick=False)
        deliver_due()

    first, second = requests
    assert first.partition("\r\n\r\n")[2] == second.partition("\r\n\r\n")[2]
    changed = [line.split(":")[0] for line in set(first.split("\r\n")) - set(second.split("\r\n"))]
    assert sorted(changed) == ["X-Booster-Signature", "X-Booster-Timestamp"]


@pytest.mark.parametrize(
    ("answer", "state", "error", "excerpt"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", "delivered", "", ""),
        (NO, "waiting", "The webhook answered 503.", "busy"),
        (
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 500\r\n\r\n" + b"no\n" + b"x" * 497,
            "waiting",
            "The webhook answered 404.",
            "no " + "x" * 197,
        ),
        (
            b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n",
            "waiting",
            "The webhook answered 302: redirects are not followed.",
            "",
        ),
        (
            b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n",
            "given_up",
            "The webhook answered 410: it is gone.",
            "",
        ),
    ],
    ids=["204", "503", "404", "302", "410"],
)
def test_what_a_webhook_answers_decides_about_another_attempt(here, answer, state, error, excerpt):
    with serving(saying(answer)) as (port, _):
        make_webhook(port)
        tell_all()
        deliver_due()

    assert [(row[0], row[3]) for row in states()] == [(state, error)]
    assert list(DeliveryAttempt.objects.values_list("error", "answer")) == [(error, excerpt)]


def test_a_webhook_on_this_machine_or_a_private_address_is_refused_at_every_attempt(settings):
    with serving(saying(OK)) as (port, requests):
        channel = make_channel("hook", kind="webhook", url="https://hooks.example/")
        roll_secret(channel, NOON)
        type(channel).objects.update(url=f"http://127.0.0.1:{port}/")
        tell_all("loopback")
        deliver_due()
        type(channel).objects.update(url=f"http://10.0.0.1:{port}/")
        tell_all("private")
        deliver_due()
        settings.BOOSTER_WEBHOOK_PRIVATE = True
        type(channel).objects.update(url=f"http://127.0.0.1:{port}/")
        tell_all("loopback again")
        deliver_due()

    assert requests == []
    assert [(state, error) for state, _, _, error in states()] == [
        ("waiting", "127.0.0.1 is an address of this machine itself, which may not be called."),
        ("waiting", "10.0.0.1 is a private address, which may not be called."),
        ("waiting", "127.0.0.1 is an address of this machine itself, which may not be called."),
    ]


def test_a_secret_stored_with_another_key_is_said(here, settings):
    with serving(saying(OK)) as (port, requests):
        make_webhook(port)
        settings.TOKEN_DIGEST_KEY = "another"
        tell_all()
        deliver_due()

    assert requests == []
    assert states()[0][3] == ("The channel's secret was stored with another TOKEN_DIGEST_KEY: make a new secret.")


def test_neither_secret_nor_address_of_a_webhook_is_logged(here, caplog):
    with serving(saying(NO)) as (port, _), caplog.at_level(logging.DEBUG):
        _, secret = make_webhook(port)
        tell_all()
        deliver_due()

    assert "notice-not-delivered" in caplog.text
    assert (secret in caplog.text, "T0K3N" in caplog.text) == (False, False)


# --- E-mail ---


@pytest.fixture
def mail_server(settings):
    settings.EMAIL_URL = "smtp://mail.example"
    settings.DEFAULT_FROM_EMAIL = "Booster <booster@acme.example>"


def test_an_email_goes_to_all_recipients(mail_server):
    store = make_tree(ACME=None, OSLO="ACME")["OSLO"]
    make_channel("night shift", recipients=["a@acme.example", "b@acme.example"])
    delivery = tell_all(organization=store, subject="LyonBox\nis lost").get()

    deliver_due()

    [message] = mail.outbox
    assert (message.subject, message.from_email, message.to) == (
        "LyonBox is lost",
        "Booster <booster@acme.example>",
        ["a@acme.example", "b@acme.example"],
    )
    assert message.body == "No heartbeat.\n\n-- \nAcme / Oslo | Test | 2026-05-01 12:00:00 UTC\n"
    assert message.extra_headers == {
        "Message-ID": f"<{delivery.delivery_id}@acme.example>",
        "Auto-Submitted": "auto-generated",
    }
    assert states() == [("delivered", 1, None, "")]


def test_without_a_mail_server_emails_wait_and_say_so(settings):
    settings.EMAIL_URL = ""
    make_channel("night shift")
    tell_all()

    deliver_due()

    assert mail.outbox == []
    assert states() == [("waiting", 1, NOON + BACK_OFF[0], "No mail server is configured: set EMAIL_URL.")]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (smtplib.SMTPAuthenticationError(535, b"not accepted"), "The mail server refused: 535 not accepted"),
        (smtplib.SMTPRecipientsRefused({}), "The mail server refused all recipients."),
        (TimeoutError(), "The mail server did not answer within 5 s."),
        (ConnectionRefusedError(111, "Connection refused"), "The mail server cannot be used: Connection refused."),
        (smtplib.SMTPServerDisconnected("closed"), "The mail server cannot be used: closed."),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_a_mail_server_refuses_is_said_and_tried_again(mail_server, monkeypatch, error, told):
    def refuse(self, messages):
        raise error

    monkeypatch.setattr("django.core.mail.backends.locmem.EmailBackend.send_messages", refuse)
    make_channel("night shift")
    tell_all()

    deliver_due()

    assert [(state, cause) for state, _, _, cause in states()] == [("waiting", told)]


def test_what_nobody_foresaw_fails_one_delivery_and_not_the_round(mail_server, settings):
    settings.DEFAULT_FROM_EMAIL = "Booster\nBcc: all@example.org"
    for name in ("one", "other"):
        make_channel(name)
    tell("test", key="k", subject="Down", text="It is.", moment=NOON)

    assert deliver_due() == 2

    assert mail.outbox == []
    assert (
        list(Delivery.objects.values_list("state", "attempts", "last_error"))
        == [("waiting", 1, "It could not be sent: BadHeaderError.")] * 2
    )
