"""The examples of docs/notices.md, run as they stand there."""

import re
import shutil
import subprocess

import pytest

from notices.delivery import BACK_OFF
from notices.sending import sign
from tests.backoffice.processes import ROOT

TEXT = (ROOT / "docs/notices.md").read_text()
SECRET, TIMESTAMP, BODY = "s3cr3t-_", "1777636800", '{"subject":"Lyon – lost"}\n'.encode()
SIGNATURE = sign(SECRET, TIMESTAMP, BODY)
FORGED = [
    {"secret": "another"},
    {"timestamp": "1777636801"},
    {"body": BODY + b" "},
    {"signature": SIGNATURE[:-1] + ("0" if SIGNATURE[-1] != "0" else "1")},
]


def example(language):
    [code] = re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    return code


@pytest.fixture
def is_genuine():
    names = {}
    exec(example("python"), names)
    return lambda now=int(TIMESTAMP), **call: names["is_genuine"](
        **{"secret": SECRET, "timestamp": TIMESTAMP, "signature": SIGNATURE, "body": BODY, "now": now} | call
    )


def test_the_python_example_accepts_what_the_booster_signs_and_nothing_else(is_genuine):
    assert is_genuine()
    assert [is_genuine(**change) for change in FORGED] == [False] * 4


def test_the_python_example_refuses_calls_older_than_five_minutes(is_genuine):
    assert [is_genuine(now=int(TIMESTAMP) + age) for age in (-301, -300, 300, 301)] == [False, True, True, False]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_the_shell_example_accepts_what_the_booster_signs_and_nothing_else(tmp_path):
    def said(secret=SECRET, timestamp=TIMESTAMP, signature=SIGNATURE, body=BODY):
        (tmp_path / "body.json").write_bytes(body)
        variables = {"PATH": "/usr/bin:/bin", "SECRET": secret, "TIMESTAMP": timestamp, "SIGNATURE": signature}
        ran = subprocess.run(
            ["sh", "-c", example("sh")], cwd=tmp_path, env=variables, capture_output=True, text=True, check=False
        )
        return ran.stdout.strip()

    assert said() == "genuine"
    assert [said(**change) for change in FORGED] == [""] * 4


def test_the_waits_are_those_that_are_described():
    described = re.search(r"tried again after (.*?), and given up", TEXT)[1].replace(" and", ",")
    units = {"s": 1, "min": 60, "h": 3600}

    waits = [int(number) * units[unit] for number, unit in re.findall(r"(\d+) (s|min|h)\b", described)]

    assert waits == [wait.total_seconds() for wait in BACK_OFF]
