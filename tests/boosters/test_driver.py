"""Roll-outs in the database, driven by the acting node (OMF-21, OMF-30 to OMF-41)."""

from datetime import timedelta

import pytest
from django.utils import timezone

from backoffice.refusals import Conflict, Invalid
from boosters import orders, rolling
from boosters.driver import drive
from boosters.lease import ActingLease
from boosters.patch_models import ReportedVersion, RollOut, RollOutTarget
from boosters.rolling import Wave
from events.models import Event
from fleet.metrics import exposition
from fleet.models import Incident, Maintenance
from fleet.watch import watch
from licensing.installation import LicenseLimit
from notices.models import Notice
from servers.models import MobileServer, ServerReport, ServerState
from tests.boosters.makers import make_patch
from tests.factories import make_organization, make_server, make_tree

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("patch_home")]
OLD, NEW = "1.1.0.0", "1.2.0.0"


@pytest.fixture
def now():
    return timezone.now()


@pytest.fixture
def tree():
    return make_tree(ACME=None, NORTH="ACME", OSLO="NORTH", BERGEN="NORTH", SOUTH="ACME", ROME="SOUTH")


def make_reporting(name, now, version=OLD, status="online", **fields):
    """Make a server whose agent reports."""
    server = make_server(name, **fields)
    ServerState.objects.create(server=server, status=status, since=now, proved_at=now)
    ServerReport.objects.create(
        server=server, software_version=version, reported_at=now, last_seen_at=now, ready_at=now
    )
    return server


def report_again(moment, **versions):
    """Let servers report now, some with another version."""
    for report in ServerReport.objects.select_related("server"):
        report.reported_at = report.ready_at = moment
        report.software_version = versions.get(report.server.name, report.software_version)
        report.save()


@pytest.fixture
def chain(tree, now):
    stores = (("oslo-1", "OSLO", 5), ("oslo-2", "OSLO", 20), ("rome", "ROME", 5))
    return [
        *(
            make_reporting(
                name, now, client=tree["ACME"], organizations=[tree[code]], priority=priority, server_type="store"
            )
            for name, code, priority in stores
        ),
        make_reporting("main", now, client=tree["ACME"]),
    ]


def at_work():
    return sorted(
        RollOutTarget.objects.filter(ordered_at__isnull=False)
        .exclude(state__in=rolling.OVER)
        .values_list("server__name", flat=True)
    )


def states():
    return dict(RollOutTarget.objects.values_list("server__name", "state"))


def say(name, state, now, **told):
    server = MobileServer.objects.get(name=name)
    target = RollOutTarget.objects.filter(server=server, ordered_at__isnull=False).latest("pk")
    return orders.report_progress(server, target.pk, state, now, **told)


def finish(name, now):
    say(name, "done", now, version=NEW)
    ServerReport.objects.filter(server__name=name).update(software_version=NEW)


def test_the_acting_node_orders_one_server_of_an_organization_at_a_time_omf_36(chain, now):
    rolling.create(make_patch(), now)
    turns = []

    for _ in range(5):
        drive(now)
        turns.append(at_work())
        for name in turns[-1]:
            finish(name, now)

    assert turns == [["oslo-2", "rome"], ["oslo-1"], ["main"], [], []]
    assert RollOut.objects.get().state == "done"
    assert Notice.objects.get(kind="roll-out-ended").text == "4 done."


def test_every_order_carries_the_term_it_was_made_in_omf_40(chain, now):
    rolling.create(make_patch(), now)

    drive(now)

    term = ActingLease.objects.get().term
    assert set(RollOutTarget.objects.filter(ordered_at__isnull=False).values_list("term", flat=True)) == {term}


def test_a_node_without_the_right_drives_nothing_omf_21(chain, now, monkeypatch):
    rolling.create(make_patch(), now)
    monkeypatch.setattr("boosters.driver.acting_right", lambda: None)

    assert (drive(now), at_work(), RollOut.objects.get().state) == (0, [], "planned")


def test_what_was_begun_in_an_older_term_writes_nothing_omf_40(chain, now, monkeypatch):
    from boosters.driver import acting_right

    rolling.create(make_patch(), now)
    old = acting_right()
    ActingLease.objects.update(term=old.term + 1)
    monkeypatch.setattr("boosters.driver.acting_right", lambda: old)

    assert (drive(now), at_work(), RollOut.objects.get().state) == (0, [], "planned")


def test_a_takeover_in_the_middle_continues_and_orders_nothing_twice_omf_40(chain, now):
    rolling.create(make_patch(), now)
    drive(now)
    say("rome", "applying", now)
    before = list(RollOutTarget.objects.order_by("pk").values("pk", "state", "ordered_at", "term"))

    ActingLease.objects.update(term=ActingLease.objects.get().term + 1)
    drive(now + timedelta(seconds=5))

    assert list(RollOutTarget.objects.order_by("pk").values("pk", "state", "ordered_at", "term")) == before
    finish("rome", now)
    finish("oslo-2", now)
    drive(now + timedelta(seconds=10))
    assert at_work() == ["oslo-1"]


def test_a_version_reported_by_hand_rolls_its_patch_out_to_all_others_omf_30(chain, now):
    make_patch()
    drive(now)  # what they have had so far
    report_again(now, rome=NEW)

    drive(now)
    drive(now)

    assert RollOut.objects.get().began_because == "rome reported 1.2.0.0."
    assert sorted(states()) == ["main", "oslo-1", "oslo-2"]
    assert at_work() == ["oslo-2"]


def test_the_patch_may_come_after_the_version_it_leads_to_omf_30(chain, now):
    drive(now)
    report_again(now, rome=NEW)
    drive(now)
    make_patch()

    drive(now)

    assert RollOut.objects.get().began_because == "rome reported 1.2.0.0."


def test_a_server_patched_by_propagation_and_repeated_reports_begin_nothing_omf_34(chain, now):
    patch = make_patch()
    drive(now)
    roll_out = rolling.create(patch, now, waves=[Wave("Rome", servers=(chain[2].pk,))])
    drive(now)
    finish("rome", now)

    for _ in range(3):
        drive(now)

    assert list(RollOut.objects.all()) == [roll_out]
    assert ReportedVersion.objects.get(server=chain[2]).is_propagated is True


def test_servers_that_had_the_version_when_they_came_begin_nothing_omf_30(chain, now):
    make_patch()
    report_again(now, rome=NEW)

    for _ in range(3):
        drive(now)

    assert not RollOut.objects.exists()


def test_a_failure_pauses_tells_and_is_tried_again_with_a_new_order_omf_39(chain, now):
    row = rolling.create(make_patch(), now)
    drive(now)
    first = RollOutTarget.objects.get(server__name="rome").pk
    say("rome", "backing_up", now)
    say("rome", "failed", now, detail="The backup command ended with status 1.")

    drive(now)

    row.refresh_from_db()
    assert (row.state, row.cause) == ("paused", "rome: The backup command ended with status 1.")
    assert Notice.objects.get(kind="roll-out-paused").text == row.cause
    rolling.resume(row.pk, now)
    drive(now)
    assert at_work() == ["oslo-2", "rome"]
    assert RollOutTarget.objects.get(server__name="rome").pk > first


def test_a_planned_restart_is_maintenance_and_no_incident_and_in_transition_omf_38(chain, now):
    rolling.create(make_patch(), now)
    drive(now)

    say("rome", "backing_up", now + timedelta(seconds=1))
    watch(now + timedelta(seconds=2))
    ServerReport.objects.filter(server__name="rome").update(unready_at=now + timedelta(seconds=399))
    watch(now + timedelta(seconds=400))  # longer than a server may otherwise be in transition

    state = ServerState.objects.get(server=chain[2])
    assert (state.status, state.cause, state.has_order) == (
        "transition_to_offline",
        "Openbravo POS 1.2.0.0: backing up.",
        True,
    )
    assert Maintenance.objects.get(ends_at__gt=now).reason == "Roll-out: Openbravo POS 1.2.0.0"
    assert not Incident.objects.filter(server=chain[2]).exists()
    finish("rome", now + timedelta(seconds=401))
    assert not Maintenance.objects.filter(ends_at__gt=now + timedelta(seconds=402)).exists()
    assert ServerState.objects.get(server=chain[2]).has_order is False


def test_no_return_within_ten_minutes_fails_and_ends_the_maintenance_omf_38(chain, now):
    rolling.create(make_patch(), now)
    drive(now)
    say("rome", "restarting", now)

    drive(now + timedelta(minutes=10, seconds=1))

    target = RollOutTarget.objects.get(server__name="rome")
    assert (target.state, target.detail[:62]) == (
        "failed",
        "It did not come back with the new version within 10 minutes of",
    )
    assert RollOut.objects.get().state == "paused"
    assert not Maintenance.objects.filter(ends_at__gt=now + timedelta(minutes=11)).exists()


def test_without_a_licence_nothing_is_propagated_and_versions_are_still_kept_omf_41(chain, now, time_machine):
    patch = make_patch()
    running = rolling.create(patch, now, waves=[Wave("Rome", servers=(chain[2].pk,))])
    later = now + timedelta(days=8)
    time_machine.move_to(later, tick=False)
    report_again(later)

    with pytest.raises(LicenseLimit):
        rolling.create(patch, later)
    drive(later)

    running.refresh_from_db()
    assert (running.state, running.cause) == ("paused", "Without a valid licence nothing is rolled out (OMF-41).")
    assert (at_work(), ReportedVersion.objects.count()) == ([], 4)
    with pytest.raises(LicenseLimit):
        rolling.resume(running.pk, later)


def test_waves_take_servers_organizations_and_all_others_once_each(chain, tree, now):
    rolling.create(
        make_patch(),
        now,
        waves=[
            Wave("Test", servers=(chain[0].pk,)),
            Wave("North", organizations=(tree["NORTH"].pk,)),
            Wave("Everybody", everybody=True),
        ],
    )

    drive(now)

    waves = dict(RollOutTarget.objects.values_list("server__name", "wave"))
    assert waves == {"oslo-1": 1, "oslo-2": 2, "rome": 3, "main": 3}
    assert at_work() == ["oslo-1"]
    assert RollOutTarget.objects.get(server__name="rome").waits_for == "Waits for wave 1 to end."


def test_a_roll_out_that_keeps_to_maintenance_begins_there_alone(chain, tree, now):
    Maintenance.objects.create(
        organization=tree["ROME"], starts_at=now, ends_at=now + timedelta(hours=1), reason="Night"
    )
    rolling.create(make_patch(), now, only_in_maintenance=True)

    drive(now)

    assert at_work() == ["rome"]
    assert RollOutTarget.objects.get(server__name="oslo-2").waits_for == "Waits for its maintenance window."


def test_a_server_belongs_to_one_roll_out_at_a_time(chain, now):
    rolling.create(make_patch(), now)

    with pytest.raises(Conflict, match="is still part of roll-out"):
        rolling.create(make_patch(version="1.3.0.0"), now)


def test_two_roll_outs_never_take_two_servers_of_one_organization(chain, now):
    rolling.create(make_patch(), now, waves=[Wave("one", servers=(chain[0].pk,))])
    rolling.create(make_patch(version="1.3.0.0"), now, waves=[Wave("two", servers=(chain[1].pk,))])

    drive(now)

    assert at_work() == ["oslo-1"]


def test_a_roll_out_of_nobody_is_refused(tree, now):
    with pytest.raises(Invalid, match="No active server is chosen"):
        rolling.create(make_patch(), now)


def test_rolling_back_goes_to_those_that_have_it_and_awaits_what_they_had(chain, now):
    row = rolling.create(make_patch(), now, waves=[Wave("Rome", servers=(chain[2].pk,))])
    drive(now)
    finish("rome", now)
    drive(now)

    back = rolling.roll_back(row.pk, now)
    drive(now)

    target = back.targets.get()
    assert (target.server_key, target.wanted, orders.order_of(chain[2].pk).step) == ("rome", OLD, "roll_back")
    say("rome", "done", now, version=OLD)
    drive(now)
    assert RollOut.objects.get(pk=back.pk).state == "done"


def test_what_cannot_be_taken_back_says_why(chain, now):
    running = rolling.create(make_patch(), now)
    with pytest.raises(Conflict, match="cancel it first"):
        rolling.roll_back(running.pk, now)
    rolling.cancel(running.pk, now)
    with pytest.raises(Conflict, match="No server has the patch"):
        rolling.roll_back(running.pk, now)

    other = rolling.create(make_patch(version="1.3.0.0", revert=None), now)
    with pytest.raises(Conflict, match="does not declare how"):
        rolling.roll_back(other.pk, now)


def test_what_an_administrator_does_is_recorded_with_his_name(chain, now, admin_user):
    row = rolling.create(make_patch(), now, actor=admin_user)
    rolling.pause(row.pk, now, admin_user)
    rolling.resume(row.pk, now, admin_user)
    rolling.skip(row.pk, "rome", now, admin_user)
    rolling.cancel(row.pk, now, admin_user)

    told = Event.objects.filter(kind__endswith="-asked", actor=admin_user).order_by("pk").values_list("kind", flat=True)
    assert list(told) == [f"roll-out-{what}-asked" for what in ("planned", "pause", "resume", "skip", "cancel")]


@pytest.mark.parametrize("servers", [1, 3])
def test_a_pass_in_which_nothing_changes_takes_the_same_queries_for_any_number_of_servers(
    now, servers, django_assert_max_num_queries
):
    acme = make_organization("ACME")
    for number in range(servers):
        make_reporting(f"s{number}", now, client=acme)
    rolling.create(make_patch(), now)
    drive(now)

    with django_assert_max_num_queries(100) as captured:
        drive(now)

    assert len(captured) <= 26, [query["sql"][:90] for query in captured]


def test_metrics_count_roll_outs_and_the_servers_of_those_that_are_not_over(chain, now):
    rolling.create(make_patch(), now)
    drive(now)
    say("rome", "applying", now)

    told = exposition(now).decode()

    assert 'booster_roll_outs{state="running"} 1.0' in told
    assert 'booster_roll_out_servers{state="applying"} 1.0' in told
    assert 'booster_roll_out_servers{state="waiting"} 3.0' in told
