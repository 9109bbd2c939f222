import pytest
from django.core import mail
from django.core.management import CommandError, call_command

from events.models import Event
from tests.factories import make_channel

pytestmark = pytest.mark.django_db


def test_send_test_notice_sends_and_tells(settings, capsys):
    settings.EMAIL_URL = "smtp://mail.example"
    make_channel("office", recipients=["ops@acme.example"])

    call_command("send_test_notice", "office")

    assert [message.to for message in mail.outbox] == [["ops@acme.example"]]
    assert capsys.readouterr().out.startswith("The test was delivered to ops@acme.example in ")
    assert Event.objects.get(kind="notice-channel-tested").actor_name == "manage.py send_test_notice"


def test_send_test_notice_fails_with_the_cause(settings):
    settings.EMAIL_URL = ""
    make_channel("office")

    with pytest.raises(
        CommandError, match=r"The test was not delivered: No mail server is configured: set EMAIL_URL\."
    ):
        call_command("send_test_notice", "office")


def test_send_test_notice_names_the_channels_there_are():
    with pytest.raises(CommandError, match=r"There is no channel 'pager'\. There are: none\."):
        call_command("send_test_notice", "pager")
    make_channel("office")
    with pytest.raises(CommandError, match=r"There are: office\."):
        call_command("send_test_notice", "pager")
