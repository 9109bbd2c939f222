"""manage.py license, the vendor's side and the installation's."""

import json
import stat
import subprocess
import sys

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError

from events.models import Event
from licensing.installation import standing
from tests.licensing.makers import DAY, INSTALLATION, START, make_file, make_installation
from tests.serving import ROOT

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("vendor_keys")]


@pytest.fixture
def run(capsys):
    def run_command(*arguments):
        call_command("license", *map(str, arguments))
        return capsys.readouterr().out

    return run_command


@pytest.fixture
def at(time_machine):
    time_machine.move_to(START + 8 * DAY, tick=False)


@pytest.fixture
def key(run, tmp_path):
    run("keygen", "2027-1", "--directory", tmp_path)
    return tmp_path / "2027-1.private.pem"


def test_keygen_makes_a_pair_and_overwrites_nothing(run, key, tmp_path):
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert (tmp_path / "2027-1.pem").read_text().startswith("-----BEGIN PUBLIC KEY-----")
    with pytest.raises(CommandError, match="File exists"):
        run("keygen", "2027-1", "--directory", tmp_path)
    key.unlink()
    with pytest.raises(CommandError, match="File exists"):
        run("keygen", "2027-1", "--directory", tmp_path)
    assert not key.exists()


@pytest.mark.parametrize("key_id", ["", "../2027", "a b", "2027.1", "x" * 41])
def test_keygen_refuses_ids_that_are_no_file_names(run, tmp_path, key_id):
    with pytest.raises(CommandError, match="up to 40 letters, digits"):
        run("keygen", key_id, "--directory", tmp_path)


def test_wrong_usage_says_so_with_status_2_and_without_a_database():
    wrong = {
        (): "the following arguments are required: COMMAND",
        ("frobnicate",): "argument COMMAND: invalid choice: 'frobnicate'",
        ("verify",): "the following arguments are required: file",
        ("issue", "--customer", "Acme"): "the following arguments are required: --key",
        ("keygen", "a/b"): "argument key_id: up to 40 letters, digits, '_' and '-' are needed",
    }
    command = [sys.executable, "manage.py", "license"]

    ended = [
        subprocess.run([*command, *arguments], check=False, capture_output=True, text=True, cwd=ROOT)
        for arguments in wrong
    ]

    assert [(run.returncode, run.stdout) for run in ended] == [(2, "")] * len(wrong)
    for run, said in zip(ended, wrong.values(), strict=True):
        assert said in run.stderr.splitlines()[-1]


def test_a_database_that_does_not_answer_is_said_in_one_line(run, tmp_path, monkeypatch):
    def refuse(*arguments, **options):
        raise OperationalError("no such table: events_event")

    monkeypatch.setattr("licensing.management.commands.license.standing", refuse)

    with pytest.raises(CommandError, match="The database does not answer, or"):
        run("show")


def test_issue_signs_what_it_was_told(run, key, tmp_path, at):
    file = tmp_path / "acme.lic"
    terms = ["--servers", 4, "--terminals", 40, "--feature", "roll-out", "--grace-days", 14]
    terms += ["--not-before", "2027-02-01", "--expires", "2028-02-01", "--installation", INSTALLATION]

    run("issue", "--key", key, "--customer", "Acme", *terms, "--out", file)

    told = json.loads(run("show", file, "--public-key", tmp_path / "2027-1.pem"))
    del told["id"]
    assert told == {
        "customer": "Acme",
        "type": "standard",
        "servers": 4,
        "terminals": 40,
        "features": ["roll-out"],
        "issued_at": "2027-01-09T12:00:00+00:00",
        "not_before": "2027-02-01T00:00:00+00:00",
        "expires_at": "2028-02-01T00:00:00+00:00",
        "grace_days": 14,
        "installation": INSTALLATION,
        "key_id": "2027-1",
    }


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--servers", "many"], "a whole number is needed"),
        (["--expires", "soon"], "a day or time"),
        (["--expires", "2020-01-01"], "would end before it begins"),
        (["--customer", ""], "customer is not a text"),
    ],
)
def test_issue_refuses_terms_that_make_no_licence(run, key, arguments, said):
    with pytest.raises(CommandError, match=said):
        run("issue", "--key", key, "--customer", "Acme", *arguments)


def test_issue_refuses_what_is_no_private_key(run, key, tmp_path):
    with pytest.raises(CommandError, match="holds no private key"):
        run("issue", "--key", tmp_path / "2027-1.pem", "--customer", "Acme")


def test_verify_tells_good_from_altered(run, tmp_path):
    good, bad = tmp_path / "good.lic", tmp_path / "bad.lic"
    good.write_bytes(make_file() + b"\n")
    bad.write_bytes(make_file()[:-9] + b"A" + make_file()[-8:])

    assert "is a licence for Acme Retail, signed with test-1" in run("verify", good)
    with pytest.raises(CommandError, match="The signature does not fit"):
        run("verify", bad)
    with pytest.raises(CommandError, match="No such file"):
        run("verify", tmp_path / "none.lic")


def test_install_stores_and_show_tells(run, tmp_path, at):
    make_installation()
    file = tmp_path / "acme.lic"
    file.write_bytes(make_file())

    said = run("install", file)

    assert said.splitlines()[0] == "State: none → licensed"
    assert standing().present.id == "L-1"
    assert Event.objects.get().actor_name == "manage.py license"
    assert run("show").startswith(f"Licensed for Acme Retail until 2028-01-01 12:00 UTC. Installation {INSTALLATION}.")


def test_install_refuses_an_older_one_until_confirmed(run, tmp_path, at):
    make_installation(license=make_file(id="newer", issued_at=START + DAY).decode())
    file = tmp_path / "older.lic"
    file.write_bytes(make_file(id="older"))

    with pytest.raises(CommandError, match="Confirm to replace it"):
        run("install", file)
    run("install", file, "--confirm-older")

    assert standing().present.id == "older"
