"""Two nodes as real process trees: killed, stopped and continued, cut off, started before their database."""

import os
import signal
import threading
import time

import httpx
import pytest
from django.conf import settings
from django.db import connection
from django.utils import timezone

from boosters.models import ActingLease, ScheduledSlot
from events.models import Event
from servers.agent_tokens import issue_agent_token
from tests.backing import Redis
from tests.backoffice.processes import wait_for
from tests.boosters.nodes import PairOfNodes, holder, wait_for_holder
from tests.factories import make_server, make_tree

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.processes,
    pytest.mark.skipif(not os.environ.get("REDIS_URL"), reason="a pair needs PostgreSQL"),
]
TAKEOVER_BAR_S, RETURN_BAR_S = 15, 30


@pytest.fixture
def redis(tmp_path_factory):
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory(prefix="booster-", dir="/tmp") as directory:
        server = Redis(Path(directory))
        yield server
        server.kill()


@pytest.fixture
def pair(tmp_path, redis):
    with PairOfNodes(tmp_path, redis.url, TOKEN_DIGEST_KEY=settings.TOKEN_DIGEST_KEY) as nodes:
        yield nodes


def term():
    return ActingLease.objects.get().term


def test_pair_takes_over_and_back_whatever_happens_to_a_node(pair, begun):
    """OMF-20, OMF-21, OMF-22, OMF-23, OMF-24, OMF-25, OMF-27, OMF-60, with the real timings."""
    figures = {}
    server = make_server("box", client=make_tree(ACME=None)["ACME"])
    token = issue_agent_token(server.pk, timezone.now()).text

    start_before_the_database(pair)
    reporter = Reporter(pair.nodes, token)
    kill_the_acting_node(pair, figures)
    stopped_in = stop_the_acting_node_for_a_while(pair, figures)
    cut_the_acting_node_off(pair, figures)
    reporter.stop()
    cut_both_off(pair)
    practised = practise(pair)
    stop_the_acting_node_in_good_order(pair, figures)

    kinds = [kind for kind in Event.objects.order_by("pk").values_list("kind", flat=True) if "booster-" in kind]
    runs, doubles = begun()
    told = {name: f"{seconds:.1f} s" for name, seconds in figures.items()}
    print(practised)  # noqa: T201
    print(told, f"runs: {runs}, run twice: {doubles}, reports: {reporter.taken}, lost: {reporter.lost}")  # noqa: T201
    assert (doubles, reporter.lost) == (0, 0)
    assert min(runs, reporter.taken) >= 5
    assert written_after_the_takeover(*stopped_in) == 0
    assert kinds[:2] == ["booster-takeover", "booster-return"]
    assert (kinds.count("booster-takeover"), kinds.count("booster-return")) == (5, 4)
    assert [seconds for name, seconds in figures.items() if "takeover" in name and seconds > TAKEOVER_BAR_S] == []
    assert [seconds for name, seconds in figures.items() if "return" in name and seconds > RETURN_BAR_S] == []


def start_before_the_database(pair):
    for node in pair.nodes:
        node.wire.cut()
        node.start()
    wait_for(lambda: all(node.get("/livez") == 200 for node in pair.nodes), "both web servers")
    assert [node.get("/readyz") for node in pair.nodes] == [503, 503]
    assert holder() == ""
    for node in pair.nodes:
        node.wire.mend()
    for node in pair.nodes:
        node.wait_until_ready()
    wait_for_holder("primary")
    assert [node.get("/actingz") for node in pair.nodes] == [200, 503]


def kill_the_acting_node(pair, figures):
    pair.primary.kill()
    figures["takeover after kill -9"] = wait_for_holder("secondary")
    assert pair.secondary.get("/readyz") == 200
    pair.primary.start()
    pair.primary.wait_until_ready()
    figures["return"] = wait_for_holder("primary")


def stop_the_acting_node_for_a_while(pair, figures):
    """Stop the node beyond its lease and let it go on; return its old term and when that was taken from it."""
    old_term = term()
    pair.primary.signal(signal.SIGSTOP)
    figures["takeover after SIGSTOP"] = wait_for_holder("secondary")
    taken_at = ActingLease.objects.get().acting_since
    pair.primary.signal(signal.SIGCONT)
    figures["return after SIGCONT"] = wait_for_holder("primary")
    return old_term, taken_at


def written_after_the_takeover(old_term, taken_at):
    late = ScheduledSlot.objects.filter(term=old_term)
    return late.filter(claimed_at__gt=taken_at).count() + late.filter(run_at__gt=taken_at).count()


def cut_the_acting_node_off(pair, figures):
    pair.primary.wire.cut()
    figures["takeover after a cut"] = wait_for_holder("secondary")
    assert pair.primary.get("/livez") == 200


def cut_both_off(pair):
    """Cut the other node off as well: then nobody acts, until the database can be reached again."""
    pair.secondary.wire.cut()
    wait_for_holder("", 15)
    last = term()
    time.sleep(2)
    assert (holder(), term()) == ("", last)
    for node in pair.nodes:
        node.wire.mend()
    wait_for_holder("primary")
    wait_for(lambda: ScheduledSlot.objects.filter(term=term()).exclude(run_at=None).exists(), "a run in the new term")


def practise(pair):
    """Hand over in good order, as an operator practises it; return what the command says."""
    wait_for(pair.secondary.is_steady, "the secondary to be steady")
    practised = pair.primary.manage("practise_takeover")
    assert (practised.returncode, practised.stderr, holder()) == (0, "", "primary")
    return practised.stdout.strip()


def stop_the_acting_node_in_good_order(pair, figures):
    """Stop `up` as an operator does: the right is given back, not waited for."""
    begun_at = time.monotonic()
    assert pair.primary.product.stop() == 0
    wait_for_holder("secondary")
    figures["takeover after a stop"] = time.monotonic() - begun_at


@pytest.fixture
def begun(db):
    """Count, beside the product, every begin of a scheduled run: a table that a trigger fills."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE begun_runs (task text, slot_at timestamptz, term bigint)")
        cursor.execute(
            "CREATE FUNCTION note_begun() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            "INSERT INTO begun_runs VALUES (NEW.task, NEW.slot_at, NEW.term); RETURN NEW; END $$"
        )
        cursor.execute(
            "CREATE TRIGGER note_begun AFTER UPDATE ON boosters_scheduledslot "
            "FOR EACH ROW EXECUTE FUNCTION note_begun()"
        )
    yield _runs
    with connection.cursor() as cursor:
        cursor.execute("DROP TRIGGER note_begun ON boosters_scheduledslot")
        cursor.execute("DROP FUNCTION note_begun")
        cursor.execute("DROP TABLE begun_runs")


def _runs():
    """Return how many runs began, and how many of their slots began more than once."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT sum(runs), count(*) FILTER (WHERE runs > 1) "
            "FROM (SELECT count(*) AS runs FROM begun_runs GROUP BY task, slot_at) slots"
        )
        return cursor.fetchone()


class Reporter:
    """Reports as an agent does, to the primary and else to the secondary; counts what neither took."""

    def __init__(self, nodes, token):
        self._nodes, self._token = nodes, token
        self.taken = self.lost = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while not self._stopping.wait(1.1):
            if any(self._report(node) for node in self._nodes):
                self.taken += 1
            else:
                self.lost += 1

    def _report(self, node):
        report = {
            "software_version": "1.1.6.3",
            "modules": [],
            "ready": True,
            "pending": 0,
            "host_name": "box",
            "os": "Debian",
            "observed": [],
        }
        try:
            answer = httpx.post(
                f"{node.url}/api/v1/agent/heartbeat",
                json=report,
                headers={"Authorization": f"Bearer {self._token}"},
                timeout=3,
            )
        except httpx.TransportError:
            return False
        return answer.status_code == 200

    def stop(self):
        self._stopping.set()
        self._thread.join()
