"""What people are told of outages: the whole way from what was heard to the notice."""

import threading

import pytest
from django.db import connection, connections

from fleet.models import Incident, Maintenance
from fleet.telling import tell_outages
from fleet.watch import watch
from notices.models import Delivery, Notice
from servers.models import ServerReport, ServerState, StatusTransition
from tests.factories import make_channel, make_organization, make_tree
from tests.fleet.makers import (
    START,
    Clock,
    acme,
    beat_both,
    hear,
    make_probed,
    make_reporting,
    open_incidents,
    seconds,
    see,
    told,
)
from tests.fleet.test_incidents import in_state, move

pytestmark = pytest.mark.django_db


@pytest.fixture
def clock(time_machine):
    return Clock(time_machine)


def delivered():
    """Return the channels of each notice, by subject."""
    found = {}
    for subject, name in Delivery.objects.order_by("notice", "channel__name").values_list(
        "notice__subject", "channel__name"
    ):
        found.setdefault(subject, []).append(name)
    return found


def fleet(stores=3):
    """Make a main server with store servers, and a witness of another client that goes on reporting."""
    main = make_reporting("central")
    box = [make_reporting(f"box{number}", server_type="store") for number in range(stores)]
    witness = make_reporting("witness", client=make_organization("OTHER"))
    for server in [main, *box, witness]:
        hear(server)
    return main, box, witness


def test_a_loss_and_a_return_are_two_notices(clock):
    main, box, witness = fleet()

    clock.pass_by(120, hearing=[*box, witness])
    lost = told()
    clock.pass_by(30, hearing=[main, *box, witness])

    assert lost == [("server-lost", "central was lost")]
    assert told()[1:] == [("server-back", "central is back")]
    notices = Notice.objects.order_by("pk")
    assert [(notice.organization.code, notice.key) for notice in notices] == [
        ("ACME", f"incident-opened:{Incident.objects.get().pk}"),
        ("ACME", f"incident-closed:{Incident.objects.get().pk}"),
    ]
    assert notices[0].text == (
        "Main server central (central) of Acme left online at 2026-03-01 12:01:35 UTC: No heartbeat for 90 s. "
        f"See https://booster-a.example/admin/fleet/servers/{main.pk}/"
    )
    assert notices[1].data == {
        "incident": Incident.objects.get().pk,
        "server": "central",
        "closed_at": "2026-03-01T12:02:30Z",
        "cause": "It is ready.",
        "still_lost": 0,
    }


def test_a_main_server_and_the_stores_that_follow_are_one_notice_each_way(clock):
    main, box, witness = fleet()

    clock.pass_by(150, hearing=[witness])
    clock.pass_by(60, hearing=[main, box[0], box[1], witness])

    assert told() == [
        ("server-lost", "central was lost, 3 more with it"),
        ("server-back", "central is back"),
    ]
    assert "1 server lost with it is still missing." in Notice.objects.first().text
    clock.pass_by(400, hearing=[main, box[0], box[1], witness])
    assert told()[2:] == [("server-lost", "box2 was lost")]
    clock.pass_by(60, hearing=[main, *box, witness])
    assert told()[3:] == [("server-back", "box2 is back")]
    assert open_incidents() == []


def test_channels_of_every_organization_that_is_hit_are_told_of_the_one_notice(clock):
    """Those lost with the main server at once, and those that follow it silently later."""
    tree = make_tree(ACME=None, LYON="ACME", OSLO="ACME", NICE="ACME")
    names = {"lyon": ["LYON"], "oslo": ["OSLO"], "both": ["NICE", "OSLO"], "nice": ["NICE"]}
    box = {
        name: make_reporting(
            name,
            client=tree["ACME"],
            server_type="store",
            all_organizations=False,
            organizations=[tree[code] for code in codes],
        )
        for name, codes in names.items()
    }
    main, witness = make_reporting("central", client=tree["ACME"]), make_reporting("w", client=make_organization("W"))
    for server in (main, witness, *box.values()):
        hear(server)
    for code in tree:
        make_channel(code, organization=tree[code])
    make_channel("everything")

    clock.pass_by(150, hearing=[witness, box["both"], box["nice"]])
    first = delivered()
    clock.pass_by(120, hearing=[witness, box["nice"]])
    then = delivered()
    clock.pass_by(60, hearing=[main, witness, *box.values()])

    assert first == {"central was lost, 2 more with it": ["ACME", "LYON", "OSLO", "everything"]}
    assert then == {"central was lost, 2 more with it": ["ACME", "LYON", "NICE", "OSLO", "everything"]}
    assert delivered() == then | {"central is back": ["ACME", "LYON", "NICE", "OSLO", "everything"]}


def test_a_server_of_several_stores_is_told_to_the_channels_of_each(clock):
    tree = make_tree(ACME=None, LYON="ACME", OSLO="ACME", NICE="ACME")
    box = make_reporting(
        "box",
        client=tree["ACME"],
        server_type="store",
        all_organizations=False,
        organizations=[tree["LYON"], tree["OSLO"]],
    )
    others = [make_reporting(f"other{number}", client=make_organization(f"OTHER{number}")) for number in range(2)]
    for server in (box, *others):
        hear(server)
    for code in ("LYON", "OSLO", "NICE"):
        make_channel(code, organization=tree[code])

    clock.pass_by(130, hearing=others)

    assert delivered() == {"box was lost": ["LYON", "OSLO"]}


def test_a_notice_leads_to_the_page_where_the_booster_knows_its_address(clock, settings):
    settings.BOOSTER_PUBLIC_URLS = ["https://booster.example/", "https://second.example"]
    main, box, witness = fleet()

    clock.pass_by(120, hearing=[*box, witness])

    text = Notice.objects.get().text
    assert text.endswith(f"No heartbeat for 90 s. See https://booster.example/admin/fleet/servers/{main.pk}/")


def test_stores_that_notice_first_that_the_main_server_is_gone_are_one_notice_with_it(clock):
    """They say so with their next report; its own silence is noticed much later."""
    _main, box, witness = fleet()

    def complain():
        for server in box:
            hear(server, clock.now - seconds(1), ready=False, cause="The central server does not answer.")

    clock.pass_by(120, hearing=[witness], each=complain)

    assert Incident.objects.filter(server__in=box, opened_at=START + seconds(5)).count() == len(box)
    assert told() == [("server-lost", "central was lost, 3 more with it")]


def test_a_booster_that_reaches_nothing_says_so_once(clock):
    main, box, witness = fleet()

    clock.pass_by(600)
    lost = told()
    clock.pass_by(90, hearing=[main, *box, witness])

    assert lost == [("booster-isolated", "The Booster cannot reach anything")]
    assert told()[1:] == [("booster-reconnected", "The Booster reaches servers again")]
    assert open_incidents() == []
    assert Incident.objects.filter(told_at=None).count() == 0


def test_after_the_booster_reconnected_who_stays_down_is_told(clock):
    main, box, witness = fleet()
    clock.pass_by(300)

    clock.pass_by(700, hearing=[main, box[0], witness])

    assert told()[0][0] == "booster-isolated"
    assert "2 servers lost with it are still missing." in Notice.objects.get(kind="booster-reconnected").text
    assert sorted(told()[2:]) == [("server-lost", "box1 was lost"), ("server-lost", "box2 was lost")]


def test_maintenance_is_not_told_and_what_outlasts_it_is(clock):
    main, box, witness = fleet()
    Maintenance.objects.create(server=box[0], starts_at=START, ends_at=clock.now.replace(hour=13), reason="Cabling")
    Maintenance.objects.create(server=box[1], starts_at=START, ends_at=clock.now.replace(minute=5), reason="Cabling")

    clock.pass_by(600, hearing=[main, box[2], witness])

    assert told() == [("server-lost", "box1 was lost")]
    clock.pass_by(60, hearing=[main, *box, witness])
    assert told()[1:] == [("server-back", "box1 is back")]


def test_a_blip_is_not_told(clock):
    main, box, witness = fleet()

    clock.pass_by(95, hearing=[*box, witness])
    assert open_incidents() == ["Server lost: central"]
    clock.pass_by(10, hearing=[main, *box, witness], every=5)
    clock.pass_by(60, hearing=[main, *box, witness])

    assert (told(), open_incidents()) == ([], [])


def test_a_probed_server_that_comes_and_goes_is_told_once(clock):
    main, _, witness = fleet(stores=0)
    probed = make_probed("shaky")
    see(probed)

    for _ in range(5):
        for _ in range(3):
            clock.pass_by(30, hearing=[main, witness])
            see(probed, failure="shaky refused the connection.")
        clock.pass_by(30, hearing=[main, witness])
        see(probed)
        clock.pass_by(330, hearing=[main, witness])

    kinds = [kind for kind, _ in told()]
    assert kinds == ["server-lost", "server-back", "server-lost", "server-back", "server-flapping"]
    assert Incident.objects.filter(server=probed).count() == 5
    clock.pass_by(3700, hearing=[main, witness])
    probed.state.refresh_from_db()
    assert probed.state.is_flapping is False
    for _ in range(3):
        clock.pass_by(30, hearing=[main, witness])
        see(probed, failure="shaky refused the connection.")
    clock.pass_by(30, hearing=[main, witness])
    assert [kind for kind, _ in told()[5:]] == ["server-lost"]


@pytest.mark.django_db(transaction=True)
def test_a_watcher_killed_before_it_tells_of_flapping_leaves_that_to_the_next(monkeypatch):
    server = in_state("online", name="shaky")
    StatusTransition.objects.bulk_create(
        StatusTransition(
            server=server,
            server_key=server.key,
            from_status="online",
            to_status="transition_to_offline",
            at=START - seconds(60 * number),
            cause="refused",
            observer="probe",
        )
        for number in range(1, 4)
    )

    monkeypatch.setattr("fleet.telling.tell", _killed)
    with pytest.raises(KeyboardInterrupt):
        watch(START)
    monkeypatch.undo()
    flagged = ServerState.objects.get().is_flapping
    watch(START + seconds(5))

    assert flagged is False
    assert (ServerState.objects.get().is_flapping, told()) == (True, [("server-flapping", "shaky comes and goes")])


def _killed(*args, **kwargs):
    raise KeyboardInterrupt


def test_nothing_to_tell_is_one_query(django_assert_num_queries):
    with django_assert_num_queries(1):
        tell_outages(START)


@pytest.mark.parametrize("number", [3, 30])
def test_telling_of_one_outage_costs_the_same_in_any_fleet(number, django_assert_num_queries):
    beat_both(START)
    for each in range(number):
        server = in_state("online", name=f"s{each}", server_type="store")
        ServerReport.objects.create(server=server, ready_at=START.replace(minute=30))
    move(server, "offline", START)
    Incident.objects.create(server=server, opened_at=START, cause="It broke.")

    with django_assert_num_queries(19):
        tell_outages(START.replace(minute=31))

    assert told() == [("server-lost", f"s{number - 1} was lost")]


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time")
def test_several_workers_tell_once():
    acme()
    beat_both(START)
    for each in range(4):
        server = in_state("offline", name=f"s{each}", server_type="store")
        ServerReport.objects.create(server=server, ready_at=START.replace(minute=30))
        Incident.objects.create(server=server, opened_at=START, cause="It broke.")
    barrier = threading.Barrier(4)

    def work():
        barrier.wait()
        tell_outages(START.replace(minute=31))
        connections.close_all()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    tell_outages(START.replace(minute=31))

    assert sorted(subject for _, subject in told()) == [f"s{each} was lost" for each in range(4)]
