"""Calling servers without an agent: whom, when, once, and what is made of the answer."""

import http.server
import threading
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from django.db import connection, connections
from django.utils import timezone

from backoffice.outbound import LARGEST_ANSWER
from fleet.models import Incident
from fleet.probing import Probed, Prober, Target, bring_forward, claim, note, plan_first_probes, probe
from fleet.watch import watch
from preferences.models import PreferenceValue
from routing.store import store
from servers.models import AgentToken, MobileServer, ServerReport, ServerState
from servers.status import Observation, Sight
from tests.fleet.makers import START, acme, beat_both, make_probed, make_reporting, seconds
from tests.serving import free_port

pytestmark = pytest.mark.django_db


@contextmanager
def answering(status=200, body=b"{}", headers=()):
    """Serve one answer on a free port of this machine; yields its address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/ping"
    finally:
        server.shutdown()
        server.server_close()


def target(url, timeout_s=2, expected_status=200):
    return Target(1, url, timeout_s, expected_status)


@pytest.fixture
def _loopback(settings):
    settings.BOOSTER_PROBE_LOOPBACK = True


@pytest.mark.usefixtures("_loopback")
@pytest.mark.parametrize(
    ("status", "expected", "sight", "cause"),
    [
        (200, 200, Sight.READY, "It answered 200."),
        (401, 401, Sight.READY, "It answered 401."),
        (503, 200, Sight.FAILED, "It answered 503 instead of 200."),
        (302, 200, Sight.FAILED, "It answered 302 instead of 200."),
    ],
)
def test_an_answer_is_judged_by_its_status_and_redirects_are_not_followed(status, expected, sight, cause):
    with answering(status, headers=[("Location", "http://127.0.0.1:1/")]) as url:
        seen = probe(target(url, expected_status=expected)).observation

    assert (seen.sight, seen.cause) == (sight, cause)


@pytest.mark.usefixtures("_loopback")
def test_an_endless_answer_is_not_read_to_its_end():
    with answering(body=b"x" * (LARGEST_ANSWER * 40)) as url:
        assert probe(target(url)).observation.sight is Sight.READY


@pytest.mark.usefixtures("_loopback")
def test_a_failure_has_a_cause_that_one_can_act_on():
    closed = f"http://127.0.0.1:{free_port()}/"

    assert probe(target(closed)).observation.cause == "127.0.0.1 refused the connection."
    assert probe(target("http://no-such-host.invalid/")).observation.cause == (
        "The host name no-such-host.invalid was not found."
    )


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8000/",
        "http://127.8.8.8/",
        "http://localhost/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://0.0.0.0/",
        "http://169.254.169.254/latest/meta-data",
        "http://[fe80::1]/",
    ],
)
def test_the_boosters_own_and_link_local_addresses_are_never_called(url):
    seen = probe(target(url)).observation

    assert seen.sight is Sight.FAILED
    assert seen.cause.endswith("which may not be called.")


def test_what_nobody_foresaw_is_a_failure_of_that_server_alone(monkeypatch):
    def explode(*args, **kwargs):
        raise RuntimeError("unforeseen")

    monkeypatch.setattr("fleet.probing.call", explode)

    assert probe(target("http://x.example/")).observation.cause == "It could not be called: RuntimeError."


def landscape():
    return store.current().landscape


def due(server):
    return ServerReport.objects.get(server=server).next_probe_at


def test_only_active_servers_without_an_agent_are_called():
    probed = make_probed("probed", ping_url="https://probed.example/alive", probe_timeout_s=7, expected_status=204)
    make_probed("inactive", is_active=False)
    make_reporting("reporting")
    revoked = make_reporting("revoked")
    AgentToken.objects.filter(server=revoked).update(revoked_at=START)
    plan_first_probes(START)

    claimed = claim(START + seconds(60), 10, landscape())

    assert sorted(claimed, key=lambda target: target.server_id) == [
        Target(probed.pk, "https://probed.example/alive", 7, 204),
        Target(revoked.pk, "https://revoked.example/openbravo", 5, 200),
    ]


def test_a_server_is_called_at_its_own_interval_or_as_the_preference_says():
    own, longer, usual = (
        make_probed("own", probe_interval_s=10),
        make_probed("longer", probe_interval_s=5, probe_timeout_s=30),
        make_probed("usual"),
    )
    PreferenceValue.objects.create(key="probe_interval_s", organization=acme(), value="90")
    plan_first_probes(START)
    now = START + seconds(1)

    claim(now, 10, landscape())

    assert [due(server) - now for server in (own, longer, usual)] == [seconds(10), seconds(31), seconds(90)]
    assert claim(now + seconds(9), 10, landscape()) == []
    assert [target.server_id for target in claim(now + seconds(10), 10, landscape())] == [own.pk]


def test_a_shortened_interval_counts_from_now_on():
    own, usual, soon = make_probed("own", probe_interval_s=3600), make_probed("usual"), make_probed("soon")
    make_reporting("reporting")
    plan_first_probes(START)
    now = START + seconds(1)
    PreferenceValue.objects.create(key="probe_interval_s", value="7200")
    claim(now, 10, landscape())
    ServerReport.objects.filter(server=soon).update(next_probe_at=now + seconds(3))
    PreferenceValue.objects.update(value="90")
    MobileServer.objects.filter(pk=own.pk).update(probe_interval_s=20)

    assert bring_forward(now, landscape()) == 2
    assert [due(server) - now for server in (own, usual, soon)] == [seconds(20), seconds(90), seconds(3)]
    assert bring_forward(now, landscape()) == 0


def test_a_round_takes_a_shortened_interval_up():
    server = make_probed(probe_interval_s=3600)
    ServerReport.objects.create(server=server, next_probe_at=timezone.now() + seconds(3600))
    prober = Prober(lambda asked: Probed(asked.server_id, Observation(Sight.READY, timezone.now(), "Seen."), 1))
    prober.run(round_s=0.1)
    MobileServer.objects.filter(pk=server.pk).update(probe_interval_s=5)

    prober.run(round_s=0.1)

    assert due(server) - timezone.now() <= seconds(6)


def test_a_server_in_a_transition_is_called_soon_whatever_its_interval(time_machine):
    """Several successes are needed, an hour lies between two calls, and the wait is 100 seconds."""
    PreferenceValue.objects.create(key="successes_before_online", value="3")
    server = make_probed(probe_interval_s=3600)
    time_machine.move_to(START, tick=False)
    ServerReport.objects.create(server=server, next_probe_at=START)
    called = []
    for number in range(0, 121, 5):
        now = START + seconds(number)
        beat_both(now)
        for asked in claim(now, 10, landscape()):
            called.append(number)
            note([seen(server, Sight.READY, now)], now, landscape())
            assert asked.server_id == server.pk
        watch(now)

    assert called == [0, 10, 20]
    assert ServerState.objects.get().status == "online"


def test_a_server_that_the_watcher_sends_into_a_transition_is_called_soon(time_machine):
    server = make_probed(probe_interval_s=3600, probe_timeout_s=14)
    time_machine.move_to(START, tick=False)
    beat_both(START)
    plan_first_probes(START)
    for number, sight in enumerate([Sight.READY, Sight.FAILED, Sight.FAILED, Sight.FAILED]):
        note([seen(server, sight, START + seconds(number))], START + seconds(number), landscape())
    ServerReport.objects.update(next_probe_at=START + seconds(3600))

    watch(START + seconds(5))

    assert ServerState.objects.get().status == "transition_to_offline"
    assert due(server) == START + seconds(20)


def test_many_new_servers_are_spread():
    for number in range(40):
        make_probed(f"s{number}")

    assert (plan_first_probes(START), plan_first_probes(START)) == (40, 0)

    times = set(ServerReport.objects.values_list("next_probe_at", flat=True))
    assert len(times) > 30
    assert START <= min(times) <= max(times) <= START + seconds(2)


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time")
def test_two_workers_never_take_the_same_probe():
    for number in range(30):
        make_probed(f"s{number}")
    plan_first_probes(START)
    known, now = landscape(), START + seconds(60)
    barrier = threading.Barrier(3)
    claimed = []

    def work():
        barrier.wait()
        while taken := claim(now, 4, known):
            claimed.extend(target.server_id for target in taken)
        connections.close_all()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(claimed) == len(set(claimed)) == 30


def seen(server, sight, at, cause="Seen."):
    return Probed(server.pk, Observation(sight, at, cause), 12)


def test_results_are_kept_and_judged_and_the_next_pass_draws_the_conclusion():
    server = make_probed()
    beat_both(START)
    plan_first_probes(START)
    for number, sight in enumerate([Sight.READY, Sight.FAILED, Sight.FAILED, Sight.FAILED, Sight.FAILED]):
        at = START + seconds(number)
        note([seen(server, sight, at, "It answered 503 instead of 200.")], at + seconds(0.1), landscape())

    watch(START + seconds(5))

    report = ServerReport.objects.get()
    kept = (report.last_seen_at, report.probed_at, report.probe_took_ms, report.failures)
    assert kept == (START, START + seconds(4), 12, 4)
    state = ServerState.objects.get()
    assert (state.status, state.since) == ("transition_to_offline", START + seconds(5))
    assert Incident.objects.get().cause == "It answered 503 instead of 200."


def test_a_result_that_comes_after_the_agent_or_the_deactivation_counts_for_nothing():
    gone, reporting = make_probed("gone"), make_probed("reporting")
    plan_first_probes(START)
    MobileServer.objects.filter(pk=gone.pk).update(is_active=False)
    AgentToken.objects.create(server=reporting, token_id="t", digest="-", created_at=START, first_used_at=START)

    assert note([seen(each, Sight.READY, START) for each in (gone, reporting)], START, landscape()) == 0
    assert not ServerState.objects.exists()


@pytest.mark.parametrize("number", [3, 30])
def test_results_without_a_change_are_a_fixed_number_of_queries(number, django_assert_num_queries):
    servers = [make_probed(f"s{each}") for each in range(number)]
    plan_first_probes(START)
    known = landscape()
    note([seen(server, Sight.READY, START) for server in servers], START, known)

    with django_assert_num_queries(6):
        note([seen(server, Sight.READY, START + seconds(60)) for server in servers], START + seconds(60), known)


def test_a_round_is_bounded_and_collects_what_was_late_in_the_next():
    release = threading.Event()
    late, prompt = make_probed("late"), make_probed("prompt")

    def call_one(asked):
        if asked.server_id == late.pk:
            release.wait(10)
        return Probed(asked.server_id, Observation(Sight.READY, datetime.now(UTC), "It answered 200."), 1)

    prober = Prober(call_one)
    ServerReport.objects.bulk_create(
        ServerReport(server=server, next_probe_at=timezone.now()) for server in (late, prompt)
    )

    first = prober.run(round_s=0.3)
    release.set()
    second = prober.run(round_s=0.3)

    assert (first, second, prober.run(round_s=0.3)) == (1, 1, 0)
    assert ServerReport.objects.filter(ready_at__isnull=False).count() == 2
