"""The service script in the manual's form, run for real."""

import os
import signal
import subprocess
import sys
import urllib.request

import pytest

from tests.backoffice.processes import ROOT, environment, free_port, wait_for

pytestmark = pytest.mark.processes


@pytest.fixture
def service(tmp_path):
    """Call the script; whatever it started is stopped in the end."""
    variables = environment(tmp_path / "data", BOOSTER_PYTHON=sys.executable)

    def call(*arguments, **further):
        done = subprocess.run(
            [ROOT / "deploy" / "booster_service", *arguments],
            env={**variables, **further},
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
        )
        return done.returncode, (done.stdout + done.stderr).strip()

    yield call
    call("stop")


def test_service_starts_tells_and_stops_with_the_exit_statuses_of_the_standard(service, tmp_path):
    """OMF-11."""
    port = str(free_port())
    before = service("status")
    started = service("start", "--port", port)
    pid = int((tmp_path / "data" / "booster.pid").read_text())
    running, again = service("status"), service("start")
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=10) as answer:
        ready = answer.status
    stopped, after, stopped_again = service("stop"), service("status"), service("stop")

    assert before == (3, "The Booster does not run.")
    assert started == running == (0, f"The Booster runs (process {pid}).")
    assert (again, ready) == ((0, f"The Booster runs already (process {pid})."), 200)
    assert stopped == (0, "The Booster is stopped.")
    assert (after, stopped_again) == (before, (0, "The Booster does not run."))


def test_service_tells_that_a_killed_node_is_stopped(service, tmp_path):
    service("start", "--port", str(free_port()))
    pid = int((tmp_path / "data" / "booster.pid").read_text())

    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: service("status")[0] == 3, "the end")

    assert service("status") == (3, "The Booster does not run.")


def test_service_says_why_it_could_not_start(service):
    refused = service("start", BOOSTER_IP="10.0.0.1")

    assert refused == (
        1,
        "The Booster did not start: Not configured properly: BOOSTER_IP needs a PostgreSQL database (DATABASE_URL): "
        "SQLite serves one node alone.",
    )
    assert service("status")[0] == 3


def test_service_refuses_what_it_does_not_know(service):
    status, said = service("restart")

    assert (status, said.startswith("Usage: ")) == (2, True)
