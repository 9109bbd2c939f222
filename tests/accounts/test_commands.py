from datetime import UTC, datetime

import pytest
from axes.models import AccessAttempt
from django.core.management import CommandError, call_command
from django.utils import timezone

from accounts.models import User, UserToken
from accounts.tokens import find_user_token
from backoffice.credentials import parse_credential
from events.models import Event
from tests.factories import make_admin, make_user

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_reset_pass_makes_admin_who_must_change_the_password():
    call_command("reset_pass")

    admin = User.objects.get()
    assert (admin.username, admin.is_staff, admin.is_superuser) == ("admin", True, True)
    assert admin.check_password("admin")
    assert admin.must_change_password


def test_reset_pass_lets_a_locked_out_admin_in_again(capsys):
    admin = make_admin("admin")
    User.objects.update(is_active=False)
    AccessAttempt.objects.create(username="admin", failures_since_start=9)

    call_command("reset_pass")

    admin.refresh_from_db()
    assert (admin.check_password("admin"), admin.must_change_password, admin.is_active) == (True, True, True)
    assert not AccessAttempt.objects.exists()
    assert capsys.readouterr().out == "User admin has the password admin; the next login must change it.\n"
    assert [(event.kind, event.object_key) for event in Event.objects.all()] == [("password-reset", "admin")]


def test_create_admin_prints_a_password_to_be_changed(capsys):
    call_command("create_admin", "eve", "--generate")

    eve = User.objects.get(username="eve")
    password = capsys.readouterr().out.partition("one-time password ")[2].partition(",")[0]
    assert (eve.is_superuser, eve.is_staff, eve.must_change_password) == (True, True, True)
    assert eve.check_password(password)


def test_create_admin_takes_the_password_from_a_file(tmp_path):
    file = tmp_path / "password"
    file.write_text("correct-horse-9\n")

    call_command("create_admin", "eve", "--password-file", str(file))

    eve = User.objects.get(username="eve")
    assert eve.check_password("correct-horse-9")
    assert not eve.must_change_password


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("taken", b"correct-horse-9", "There is a user taken already."),
        ("e v e", b"correct-horse-9", "Enter a valid username"),
        ("eve", b"", "This password is too short"),
        ("eve", b"password", "This password is too common."),
        ("eve", b"\xff\xff", "it is not UTF-8"),
        ("eve", None, "cannot be read: No such file or directory."),
    ],
)
def test_create_admin_refuses_in_one_line(tmp_path, name, content, message):
    make_user("taken")
    file = tmp_path / "password"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(CommandError) as refused:
        call_command("create_admin", name, "--password-file", str(file))

    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
    assert User.objects.count() == 1


@pytest.mark.parametrize(
    ("arguments", "is_read_only", "expires_at"),
    [
        ([], False, None),
        (["--read-only", "--expires", "30d"], True, datetime(2026, 3, 31, 12, tzinfo=UTC)),
        (["--expires", "90m"], False, datetime(2026, 3, 1, 13, 30, tzinfo=UTC)),
        (["--expires", "2026-04-01"], False, datetime(2026, 4, 1, tzinfo=UTC)),
        (["--expires", "2026-04-01T08:00:00+02:00"], False, datetime(2026, 4, 1, 6, tzinfo=UTC)),
    ],
)
def test_create_token_prints_a_token_that_works(capsys, time_machine, arguments, is_read_only, expires_at):
    time_machine.move_to(NOW, tick=False)
    make_user("robot")

    call_command("create_token", "robot", *arguments)

    token = find_user_token(parse_credential(capsys.readouterr().out.strip()), timezone.now())
    assert (token.user.username, token.is_read_only, token.expires_at) == ("robot", is_read_only, expires_at)


@pytest.mark.parametrize(
    ("user", "expires", "message"),
    [
        ("nobody", "30d", "There is no active user nobody."),
        ("retired", "30d", "There is no active user retired."),
        ("robot", "soon", "soon is no duration such as 30d and no date such as 2027-01-31."),
        ("robot", "2026-02-30", "2026-02-30 is no duration such as 30d and no date such as 2027-01-31."),
        ("robot", "9999999999w", "9999999999w is no duration such as 30d and no date such as 2027-01-31."),
        ("robot", "0d", "0d is in the past."),
        ("robot", "2020-01-01", "2020-01-01 is in the past."),
    ],
)
def test_create_token_refuses(user, expires, message):
    make_user("robot")
    make_user("retired", is_active=False)

    with pytest.raises(CommandError) as refused:
        call_command("create_token", user, "--expires", expires)

    assert str(refused.value) == message
    assert not UserToken.objects.exists()
