"""The windows "Notice channels", "Notices" and "Deliveries"."""

from datetime import timedelta

import pytest
from django.core import mail
from django.urls import reverse
from django.utils import timezone

from accounts.scope import READ_ONLY, SYSTEM_ADMINISTRATOR
from backoffice.outbound import Policy
from notices.channels import roll_secret, send_test
from notices.delivery import deliver_due, settle
from notices.models import Channel, Delivery
from notices.outbox import tell
from notices.sealing import unseal
from notices.sending import Outcome
from tests.answering import OK, saying, serving
from tests.factories import make_admin, make_channel, make_tree, make_user

pytestmark = pytest.mark.django_db

URL = "https://hooks.example/services/T0K3N?key=K3Y"


@pytest.fixture
def administrator(client):
    user = make_user("ada", role=SYSTEM_ADMINISTRATOR, is_staff=True)
    client.force_login(user)
    return user


def address(model, view, *args):
    return reverse(f"admin:notices_{model.__name__.lower()}_{view}", args=args)


def form(**fields):
    return {
        "name": "pager",
        "kind": "webhook",
        "is_active": "on",
        "url": URL,
        "recipients": "",
        "organization": "",
    } | fields


def errors(page):
    return {field: list(texts) for field, texts in page.context["adminform"].form.errors.items()}


def tell_all(key="incident-1", **fields):
    tell("test", key=key, subject="LyonBox is lost", text="No heartbeat.", moment=timezone.now(), **fields)
    return Delivery.objects.filter(notice__key=key).order_by("pk")


def test_adding_a_webhook_shows_its_secret_once(client, administrator):
    page = client.post(address(Channel, "add"), form(kinds=["license-ends-soon"]))

    channel = Channel.objects.get()
    secret = page.context["secret"]
    text = client.get(address(Channel, "change", channel.pk)).content.decode()
    assert (channel.name, channel.url, channel.kinds) == ("pager", URL, ["license-ends-soon"])
    assert unseal(channel.sealed_secret) == secret
    assert secret in page.content.decode()
    assert "no-store" in page["Cache-Control"]
    assert (secret in text, channel.sealed_secret in text) == (False, False)


def test_changing_a_webhook_keeps_its_secret(client, administrator):
    channel = make_channel("pager", kind="webhook", url=URL)
    secret = roll_secret(channel, timezone.now())

    answer = client.post(address(Channel, "change", channel.pk), form(url="https://other.example/x"))

    channel.refresh_from_db()
    assert answer.status_code == 302
    assert (channel.url, unseal(channel.sealed_secret)) == ("https://other.example/x", secret)


def test_a_webhook_that_becomes_an_email_channel_loses_address_and_secret(client, administrator):
    channel = make_channel("pager", kind="webhook", url=URL)
    roll_secret(channel, timezone.now())

    client.post(address(Channel, "change", channel.pk), form(kind="email", recipients="a@acme.example\nb@acme.example"))

    channel.refresh_from_db()
    assert (channel.kind, channel.recipients, channel.url, channel.sealed_secret) == (
        "email",
        ["a@acme.example", "b@acme.example"],
        "",
        "",
    )


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"url": ""}, {"url": ["A webhook needs a URL."]}),
        ({"url": "hooks.example"}, {"url": ["An address starts with http:// or https:// and names a host."]}),
        (
            {"url": "https://10.0.0.1/x"},
            {"url": ["10.0.0.1 is a private address, which may not be called."]},
        ),
        (
            {"url": "https://localhost/x"},
            {"url": ["localhost leads to 127.0.0.1, an address of this machine itself, which may not be called."]},
        ),
        (
            {"url": "https://u:p@hooks.example/"},
            {"url": ["The URL has no user name, password or fragment."]},
        ),
        ({"kind": "email"}, {"recipients": ["Give 1 to 20 e-mail addresses."]}),
        ({"kind": "email", "recipients": "ops"}, {"recipients": ["'ops' is not an e-mail address."]}),
        (
            {"kind": "email", "recipients": "a@acme.example\nA@acme.example"},
            {"recipients": ["An e-mail address is given twice."]},
        ),
        (
            {"kind": "email", "recipients": "\n".join(f"a{n}@acme.example" for n in range(21))},
            {"recipients": ["Give 1 to 20 e-mail addresses."]},
        ),
        (
            {"kinds": ["gossip"]},
            {"kinds": ["Select a valid choice. gossip is not one of the available choices."]},
        ),
        ({"name": "taken"}, {"name": ["Notice channel with this Name already exists."]}),
    ],
    ids=str,
)
def test_what_cannot_be_delivered_to_is_refused_with_its_reason(client, administrator, fields, told):
    make_channel("taken")

    page = client.post(address(Channel, "add"), form(**fields))

    assert errors(page) == told
    assert Channel.objects.count() == 1


def test_a_private_address_is_saved_where_that_is_set(client, administrator, settings):
    settings.BOOSTER_WEBHOOK_PRIVATE = True

    client.post(address(Channel, "add"), form(url="https://10.0.0.1/x"))

    assert Channel.objects.get().target == "https://10.0.0.1"


def test_the_window_says_that_there_is_no_mail_server(client, administrator, settings):
    texts = []
    for url in ("", "smtp://mail.example"):
        settings.EMAIL_URL = url
        texts.append(
            [
                "No mail server is configured" in client.get(page).content.decode()
                for page in (address(Channel, "changelist"), address(Channel, "add"))
            ]
        )

    assert texts == [[True, True], [False, False]]


def test_a_test_is_sent_at_once_and_its_result_is_shown(client, administrator, settings):
    settings.EMAIL_URL = "smtp://mail.example"
    channel = make_channel("office", recipients=["ops@acme.example"])

    asked = client.get(address(Channel, "test", channel.pk))
    sent_by_looking = len(mail.outbox)
    page = client.post(address(Channel, "test", channel.pk)).content.decode()

    assert (asked.status_code, sent_by_looking, [message.to for message in mail.outbox]) == (
        200,
        0,
        [["ops@acme.example"]],
    )
    assert "The test was delivered to <strong>ops@acme.example</strong>" in page


def test_a_test_that_fails_shows_why(client, administrator, settings):
    settings.EMAIL_URL = ""
    channel = make_channel("office")

    page = client.post(address(Channel, "test", channel.pk)).content.decode()

    assert "The test was not delivered: No mail server is configured: set EMAIL_URL." in page


def test_a_new_secret_is_shown_once_and_signs_from_then_on(client, administrator, monkeypatch):
    monkeypatch.setattr("notices.sending.webhook_policy", lambda: Policy(loopback=True))
    channel = make_channel("pager", kind="webhook", url=URL)
    former = roll_secret(channel, timezone.now())

    client.get(address(Channel, "new_secret", channel.pk))
    kept = unseal(Channel.objects.get().sealed_secret)
    page = client.post(address(Channel, "new_secret", channel.pk))
    with serving(saying(OK)) as (port, requests):
        Channel.objects.update(url=f"http://127.0.0.1:{port}/")
        tell_all()
        deliver_due()

    secret = page.context["secret"]
    assert kept == former
    assert (secret != former, unseal(Channel.objects.get().sealed_secret)) == (True, secret)
    assert "no-store" in page["Cache-Control"]
    assert len(requests) == 1


def test_an_email_channel_has_no_secret_to_make(client, administrator):
    channel = make_channel("office")

    page = client.post(address(Channel, "new_secret", channel.pk), follow=True)

    assert [str(message) for message in page.context["messages"]] == ["An e-mail channel has no secret."]
    assert Channel.objects.get().sealed_secret == ""


def test_a_given_up_delivery_is_delivered_again_by_its_button(client, administrator, settings):
    settings.EMAIL_URL = "smtp://mail.example"
    make_channel("office")
    delivery = tell_all().get()
    settle(delivery, Outcome("gone", is_final=True), timezone.now())

    client.post(address(Delivery, "again", delivery.pk))
    deliver_due()
    refused = client.post(address(Delivery, "again", delivery.pk), follow=True)

    delivery.refresh_from_db()
    assert (delivery.state, len(mail.outbox)) == ("delivered", 1)
    assert "Only a delivery that was given up can be delivered again." in [
        str(message) for message in refused.context["messages"]
    ]


def test_a_notice_shows_its_deliveries_and_a_delivery_its_attempts(client, administrator, settings):
    settings.EMAIL_URL = ""
    make_channel("office")
    delivery = tell_all().get()
    deliver_due()

    notice = client.get(address(type(delivery.notice), "change", delivery.notice_id)).content.decode()
    attempts = client.get(address(Delivery, "change", delivery.pk)).context["inline_admin_formsets"][0].formset

    assert "No heartbeat." in notice
    assert address(Delivery, "change", delivery.pk) in notice
    assert "No mail server is configured: set EMAIL_URL." in notice
    assert [(form.instance.is_success, form.instance.error) for form in attempts.forms] == [
        (False, "No mail server is configured: set EMAIL_URL.")
    ]


def test_deleting_a_channel_counts_what_goes_with_it_and_needs_no_other_right(client, administrator):
    channel = make_channel("office")
    tell_all()
    deliver_due()

    page = client.get(address(Channel, "delete", channel.pk))
    client.post(address(Channel, "delete", channel.pk), {"post": "yes"})

    assert page.context["model_count"] == {"notice channels": 1, "deliveries": 1}.items()
    assert (Channel.objects.count(), Delivery.objects.count()) == (0, 0)


# --- Who sees what ---


def test_who_only_reads_sees_neither_address_nor_answer_nor_buttons(client):
    client.force_login(make_user("reader", role=READ_ONLY, is_staff=True))
    channel = make_channel("pager", kind="webhook", url=URL)
    secret = roll_secret(channel, timezone.now())
    delivery = tell_all().get()
    settle(delivery, Outcome("The webhook answered 404.", 404, answer="no /services/T0K3N"), timezone.now())

    pages = {
        "list": client.get(address(Channel, "changelist")),
        "search": client.get(address(Channel, "changelist"), {"q": "T0K3N"}),
        "channel": client.get(address(Channel, "change", channel.pk)),
        "history": client.get(address(Channel, "history", channel.pk)),
        "notice": client.get(address(type(delivery.notice), "change", delivery.notice_id)),
        "delivery": client.get(address(Delivery, "change", delivery.pk)),
    }
    refused = {
        "test": client.post(address(Channel, "test", channel.pk)).status_code,
        "new_secret": client.post(address(Channel, "new_secret", channel.pk)).status_code,
        "again": client.post(address(Delivery, "again", delivery.pk)).status_code,
    }

    texts = {name: page.content.decode() for name, page in pages.items()}
    assert {page.status_code for page in pages.values()} == {200}
    assert [name for name, text in texts.items() if "services/T0K3N" in text or "K3Y" in text or secret in text] == []
    assert "https://hooks.example" in texts["channel"]
    assert "The webhook answered 404." in texts["delivery"]
    assert refused == {"test": 403, "new_secret": 403, "again": 403}


def test_who_changes_channels_sees_what_a_webhook_answered(client, administrator):
    make_channel("pager", kind="webhook", url=URL)
    delivery = tell_all().get()
    settle(delivery, Outcome("The webhook answered 404.", 404, answer="no such hook"), timezone.now())

    assert "no such hook" in client.get(address(Delivery, "change", delivery.pk)).content.decode()


def test_a_limited_administrator_handles_the_channels_of_his_organizations_only(client):
    tree = make_tree(ACME=None, NORTH="ACME", OSLO="NORTH", SOUTH="ACME")
    user = make_user("limited", role=SYSTEM_ADMINISTRATOR, is_staff=True)
    user.organizations.add(tree["NORTH"])
    client.force_login(user)
    everything = make_channel("everything")
    own = make_channel("own", organization=tree["OSLO"])
    south = make_channel("south", organization=tree["SOUTH"])
    about_oslo = tell_all("oslo", organization=tree["OSLO"]).first().notice
    about_all = tell_all("all").first().notice

    listed = [str(row) for row in client.get(address(Channel, "changelist")).context["cl"].result_list]
    notices = [row.key for row in client.get(address(type(about_oslo), "changelist")).context["cl"].result_list]
    page = client.get(address(type(about_oslo), "change", about_oslo.pk)).content.decode()
    refused = {
        "general channel": client.get(address(Channel, "change", everything.pk)).status_code,
        "other channel": client.post(address(Channel, "test", south.pk)).status_code,
        "own channel": client.post(address(Channel, "test", own.pk)).status_code,
        "general notice": client.get(address(type(about_all), "change", about_all.pk)).status_code,
    }
    for_all = errors(client.post(address(Channel, "add"), form(name="new")))
    for_south = errors(client.post(address(Channel, "add"), form(name="new", organization=tree["SOUTH"].pk)))
    client.post(address(Channel, "add"), form(name="new", organization=tree["NORTH"].pk))

    assert (listed, notices) == (["own"], ["oslo"])
    assert ("own" in page, "everything" in page) == (True, False)
    assert refused == {"general channel": 404, "other channel": 404, "own channel": 200, "general notice": 404}
    assert (list(for_all), list(for_south)) == (["organization"], ["organization"])
    assert Channel.objects.get(name="new").organization == tree["NORTH"]


def test_neither_secret_nor_address_is_part_of_history_repr_or_text():
    channel = make_channel("pager", kind="webhook", url=URL)
    secret = roll_secret(channel, timezone.now())
    channel.name = "renamed"
    channel.save()
    told = send_test(channel, timezone.now() + timedelta(seconds=1), actor=make_admin("root"))

    record = channel.history.first()
    text = " ".join(
        [repr(channel), str(channel), repr(told), repr(told.delivery), repr(told.delivery.notice)]
        + [repr(value) for row in channel.history.all() for value in vars(row).values()]
        + [str(value) for value in vars(told.delivery.notice).values()]
    )
    assert {"url", "sealed_secret"} & {field.name for field in record._meta.fields} == set()
    assert record.target == "https://hooks.example"
    assert [word for word in (secret, channel.sealed_secret, "T0K3N", "K3Y") if word in text] == []
