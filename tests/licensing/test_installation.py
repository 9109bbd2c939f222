"""The installation's licence over its whole life, with the database."""

import random
from collections import Counter
from datetime import timedelta
from threading import Barrier, Thread

import pytest
from django.db import connection, transaction
from django.db.migrations.recorder import MigrationRecorder
from django.utils import timezone
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from events.log import prune
from events.models import Event
from licensing.files import LARGEST_FILE, LicenseRefused
from licensing.installation import (
    LicenseLimit,
    OlderLicense,
    Ticker,
    give_notice,
    history,
    note_moment,
    refuse_unless_allowed,
    standing,
    ticker,
    upload,
)
from licensing.models import Installation
from licensing.rules import Action, State
from licensing.start import note_start
from licensing.tasks import keep_moment
from routing.document import Door
from routing.store import store
from terminals.models import Terminal
from tests.factories import make_admin, make_server, make_terminal, make_tree
from tests.licensing.makers import (
    DAY,
    INSTALLATION,
    SECOND,
    START,
    STRANGER,
    make_file,
    make_installation,
)
from tests.licensing.mutations import MUTATIONS

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("vendor_keys")]


@pytest.fixture(autouse=True)
def _fresh_ticker():
    ticker.anchor = None


@pytest.fixture
def at(time_machine):
    return lambda moment: time_machine.move_to(moment, tick=False)


def put(file=None, *, name="acme.lic", **options):
    return upload(make_file() if file is None else file, file_name=name, **options)


def state():
    return standing().status.state


def make_first_start():
    """Make the installation one whose first start was at START, as everything tells."""
    MigrationRecorder(connection).migration_qs.update(applied=START)
    make_installation()


def first_migration():
    return MigrationRecorder(connection).migration_qs.order_by("pk").first().applied


def test_a_whole_life(at):
    make_installation()
    seen = {}

    at(START)
    seen["first start"] = state()
    at(START + 7 * DAY - SECOND)
    seen["last second of the trial"] = state()
    at(START + 7 * DAY + SECOND)
    seen["after the trial"] = state()
    put(make_file(not_before=START + 7 * DAY, expires_at=START + 100 * DAY, grace_days=10))
    seen["licence"] = state()
    at(START + 100 * DAY + SECOND)
    seen["grace"] = state()
    at(START + 110 * DAY + SECOND)
    seen["expiry"] = state()
    put(make_file(id="L-2", issued_at=START + 109 * DAY, expires_at=START + 500 * DAY))
    seen["renewal"] = state()

    assert seen == {
        "first start": State.TRIAL,
        "last second of the trial": State.TRIAL,
        "after the trial": State.NONE,
        "licence": State.LICENSED,
        "grace": State.GRACE,
        "expiry": State.EXPIRED,
        "renewal": State.LICENSED,
    }


# --- The trial starts once ---


def test_the_first_start_is_recorded_once():
    """OMF-54, OMF-55"""
    before = standing()

    note_start(None, using="default")
    note_start(None, using="default")

    after = standing()
    assert (after.trial, after.installation_id) == (before.trial, before.installation_id)
    assert Installation.objects.count() == 1


def test_deleting_the_row_restarts_nothing_and_keeps_the_installation_id():
    Installation.objects.all().delete()
    first = standing()
    Installation.objects.all().delete()
    Event.objects.all().delete()

    second = standing()

    assert (second.trial.started_at, second.installation_id) == (first_migration(), first.installation_id)


def test_a_later_start_written_into_the_row_is_put_right():
    make_installation(timezone.now() + 3 * DAY, highest_moment=timezone.now())

    keep_moment()

    assert standing().trial.started_at == first_migration()


def test_a_deleted_row_comes_back_with_the_latest_moment_that_anything_tells_of(at):
    later = timezone.now() + 20 * DAY
    Event.objects.create(at=later, kind="something")
    Installation.objects.all().delete()

    assert (standing().highest, state()) == (later, State.NONE)


# --- The clock ---


def test_setting_the_clock_back_neither_restarts_nor_lengthens_the_trial(at):
    """OMF-55"""
    make_first_start()
    at(START + 6 * DAY)
    note_moment(monotonic_s=0)

    at(START + 1 * DAY)
    back = standing()
    note_moment(monotonic_s=DAY.total_seconds() + 1)

    assert (back.status.state, back.days_left, bool(back.clock_warning)) == (State.TRIAL, 1, True)
    assert state() is State.NONE


def test_a_clock_held_back_only_counts_while_the_trial_runs(at):
    make_installation(license=make_file(expires_at=None).decode())
    at(START)
    note_moment(monotonic_s=0)

    note_moment(monotonic_s=900 * 86_400)

    assert standing().highest == START


def test_the_ticker_counts_from_the_first_moment_it_was_given():
    counted = Ticker()

    found = [counted.reached(START, 100.0), counted.reached(START - DAY, 160.0), counted.reached(START + DAY, 220.0)]

    assert found == [START, START + timedelta(seconds=60), START + timedelta(seconds=120)]


def test_the_highest_moment_never_falls(at):
    make_installation()
    seen = []
    for days in (1, 5, 2, 3, 9, 0):
        at(START + days * DAY)
        note_moment(monotonic_s=0)
        seen.append((standing().highest - START).days)

    assert seen == [1, 5, 5, 5, 9, 9]


def test_notice_is_given_once_each_30_14_7_and_1_days_before_the_end(at):
    make_installation(license=make_file(grace_days=0).decode())
    end = START + 365 * DAY
    given = []
    for days in (31, 30, 29, 14, 14, 8, 7, 2, 1, 0.5, -1):
        at(end - timedelta(days=days))
        give_notice()
        given.append(Event.objects.filter(kind="license-ends-soon").count())

    assert given == [0, 1, 1, 2, 2, 2, 3, 3, 4, 4, 4]
    latest = Event.objects.filter(kind="license-ends-soon").first()
    assert latest.cause == "Licensed for Acme Retail until 2028-01-01 12:00 UTC"


# --- Uploads ---


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        (b"not a licence", "not_a_license"),
        (b"x" * (LARGEST_FILE + 1), "too_large"),
        (make_file(key=STRANGER), "wrong_signature"),
        (make_file(key_id="gone", key=STRANGER), "unknown_key"),
        (make_file()[:-5] + b"A" + make_file()[-4:], "wrong_signature"),
        (make_file(installation="another"), "other_installation"),
        (make_file(expires_at=START + DAY), "expired"),
        (make_file(not_before=START + 5 * DAY, expires_at=START + 4 * DAY), "not_a_license"),
    ],
    ids=["nonsense", "large", "forged", "unknown", "altered", "other", "expired", "backwards"],
)
def test_a_refused_upload_is_recorded_and_changes_nothing(at, file, reason):
    """OMF-52, OMF-58"""
    make_installation(license=make_file(id="present").decode())
    user = make_admin("root")
    at(START + 2 * DAY)
    before = Installation.objects.values().get()

    with pytest.raises(LicenseRefused) as refused:
        put(file, name="bad.lic", actor=user)

    event = Event.objects.get(kind="license-refused")
    assert refused.value.code == reason
    assert Installation.objects.values().get() == before
    assert (event.actor_name, event.at, event.data, event.cause) == (
        "root",
        START + 2 * DAY,
        {"file_name": "bad.lic", "reason": reason},
        refused.value.detail,
    )


def test_an_accepted_upload_is_recorded_and_in_force_at_once(at):
    """OMF-51, OMF-58"""
    make_installation()
    at(START + 8 * DAY)

    change = put(make_file(installation=INSTALLATION) + b"\n", actor=make_admin("root"))

    event = Event.objects.get(kind="license-accepted")
    assert state() is State.LICENSED
    assert change.lines == (
        "State: none → licensed",
        "Customer: - → Acme Retail",
        "Ends: - → 2028-01-01 12:00 UTC",
        "Mobile servers: 2 → 3",
        "POS terminals: 5 → 10",
    )
    assert (event.actor_name, event.object_key, event.data["file_name"]) == ("root", "L-1", "acme.lic")


def test_the_history_of_uploads_is_never_pruned(at):
    make_installation()
    at(START + DAY)
    put()
    Event.objects.create(at=START, kind="something else")

    pruned = prune(START + 5000 * DAY)

    assert (pruned, [event.kind for event in history()]) == (1, ["license-accepted"])


def test_a_dry_run_says_what_would_change_and_changes_nothing(at):
    make_installation()
    at(START + 8 * DAY)

    change = put(dry_run=True)

    assert (change.lines[0], state(), Event.objects.count()) == ("State: none → licensed", State.NONE, 0)


def test_a_smaller_license_says_that_nothing_is_taken_away(at):
    make_installation()
    at(START + DAY)
    tree = make_tree(ACME=None, OSLO="ACME")
    for number in range(3):
        make_terminal(f"T-{number}", tree["OSLO"])

    change = put(make_file(terminals=2))

    assert change.lines[-1] == "There are 3 POS terminals already: all of them stay, none can be added"
    assert Terminal.objects.count() == 3


def test_what_is_kept_for_later_says_nothing_of_the_limits_of_today(at):
    make_installation(license=make_file(terminals=1).decode())
    at(START + DAY)
    tree = make_tree(ACME=None, OSLO="ACME")
    Terminal.objects.bulk_create(
        Terminal(search_key=key, name=key, organization=tree["OSLO"]) for key in ("T-1", "T-2")
    )

    change = put(make_file(id="L-2", not_before=START + 300 * DAY, expires_at=START + 730 * DAY))

    assert change.lines == ("Kept as the next licence: becomes active by itself on 2027-10-28 12:00 UTC",)


def test_a_license_before_its_time_is_kept_as_the_next(at):
    make_installation(license=make_file().decode())
    at(START + DAY)

    change = put(make_file(id="L-2", not_before=START + 365 * DAY, expires_at=START + 730 * DAY, terminals=20))
    before = standing().status.license.id
    at(START + 365 * DAY)

    assert (change.is_upcoming, before, standing().status.license.id) == (True, "L-1", "L-2")


def test_the_next_license_stays_when_another_follows_it(at):
    make_installation(
        license=make_file().decode(),
        next_license=make_file(id="L-2", not_before=START + 30 * DAY).decode(),
    )
    at(START + 31 * DAY)

    put(make_file(id="L-3", issued_at=START + 31 * DAY, not_before=START + 60 * DAY))

    assert [standing().present.id, standing().upcoming.id] == ["L-2", "L-3"]


def test_an_older_license_is_taken_only_when_that_is_confirmed(at):
    make_installation(license=make_file(id="newer", issued_at=START + DAY).decode())
    at(START + 2 * DAY)
    older = make_file(id="older", issued_at=START)

    with pytest.raises(OlderLicense):
        put(older)
    kept = standing().status.license.id
    put(older, confirm_older=True)

    assert (kept, standing().status.license.id) == ("newer", "older")
    assert list(Event.objects.order_by("pk").values_list("kind", flat=True)) == ["license-refused", "license-accepted"]


def test_the_same_license_again_changes_nothing(at):
    make_installation()
    at(START + DAY)
    put()

    assert put().lines == ()


def test_a_stored_license_altered_in_the_database_is_invalid(at):
    make_installation(license=make_file().decode().replace("A", "B", 1))
    at(START + 8 * DAY)

    assert (state(), standing().status.reason) == (State.INVALID, "The signature does not fit: the file was altered.")


def test_a_license_stored_for_another_installation_is_invalid(at):
    make_installation(license=make_file(installation="another").decode())
    at(START + 8 * DAY)

    assert state() is State.INVALID


def test_ten_thousand_mutated_files_change_nothing(at):
    """Each goes the whole way of an upload; any exception but the refusal fails the test."""
    present, following = make_file(), make_file(id="L-2", not_before=START + 300 * DAY)
    make_installation(license=present.decode(), next_license=following.decode())
    at(START + DAY)
    before = (Installation.objects.values().get(), standing())
    genuine = make_file(id="L-3", issued_at=START + DAY, type="unlimited", features=("roll-out",))
    chance = random.Random(5)
    met = Counter()

    while met.total() < 10_000:
        kind = MUTATIONS[met.total() % len(MUTATIONS)]
        mutated = kind(genuine, chance)
        if is_same_file(mutated, genuine):
            continue
        with pytest.raises(LicenseRefused) as refused:
            put(mutated, dry_run=chance.random() < 0.1, confirm_older=chance.random() < 0.5)
        met[refused.value.code] += 1
        if met.total() % 500 == 0:
            assert (Installation.objects.values().get(), standing()) == before

    recorded = Counter(Event.objects.filter(kind="license-refused").values_list("data__reason", flat=True))
    assert Event.objects.exclude(kind="license-refused").count() == 0
    assert recorded == met
    assert set(met) == {"not_a_license", "wrong_signature", "unknown_key"}


def is_same_file(mutated, genuine):
    return mutated in (genuine, genuine + b"\n", genuine + b"\r\n")


# --- Asking ---


def test_limits_hold_at_every_door_of_the_rules_and_editing_stays_free(at):
    """OMF-57"""
    make_installation()
    at(START)
    tree = make_tree(ACME=None, OSLO="ACME")
    server = make_server("central", client=tree["ACME"])
    make_server("second", client=tree["ACME"])
    for number in range(7):
        make_terminal(f"T-{number}", tree["OSLO"])
    at(START + 8 * DAY)

    with pytest.raises(LicenseLimit):
        make_server("third", client=tree["ACME"])
    with pytest.raises(LicenseLimit):
        Terminal.objects.create(search_key="T-8", name="T-8", organization=tree["OSLO"])
    server.description = "edited"
    server.save()
    terminal = Terminal.objects.get(search_key="T-0")
    terminal.name = "edited"
    terminal.save()
    Terminal.objects.filter(search_key__in=["T-1", "T-2", "T-3"]).delete()
    make_terminal("T-9", tree["OSLO"])

    assert Terminal.objects.count() == 5


def test_turning_a_server_into_another_type_gains_none(at):
    make_installation()
    at(START + 8 * DAY)
    client = make_tree(ACME=None)["ACME"]
    make_server("central", client=client)
    box = make_server("box", client=client, server_type="store")
    box.server_type = "main"
    box.save()

    with pytest.raises(LicenseLimit):
        make_server("box 2", client=client, server_type="store")


def test_asking_takes_no_count_where_there_is_no_limit(django_assert_num_queries):
    make_installation(timezone.now())

    with django_assert_num_queries(1):
        refuse_unless_allowed(Action.ADD_TERMINAL)


@pytest.mark.django_db(transaction=True)
def test_two_at_once_cannot_both_add_the_last_terminal():
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has one writer anyway")
    make_installation(timezone.now() - 30 * DAY)
    tree = make_tree(ACME=None, OSLO="ACME")
    for number in range(4):
        make_terminal(f"T-{number}", tree["OSLO"])
    barrier, refused = Barrier(2), []

    def add(key):
        try:
            with transaction.atomic():
                barrier.wait()
                make_terminal(key, tree["OSLO"])
        except LicenseLimit:
            refused.append(key)
        finally:
            connection.close()

    threads = [Thread(target=add, args=(key,)) for key in ("A", "B")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (Terminal.objects.count(), len(refused)) == (5, 1)


# --- Any sequence ---

FILES = [
    make_file(),
    make_file(id="short", expires_at=START + 20 * DAY, grace_days=3),
    make_file(id="next", not_before=START + 15 * DAY, expires_at=START + 40 * DAY),
    make_file(id="old", issued_at=START - 9 * DAY, servers=1, terminals=1),
    make_file(id="other", installation="another"),
    make_file(key=STRANGER),
    b"nonsense",
]
steps = st.lists(
    st.one_of(
        st.tuples(st.just("upload"), st.sampled_from(range(len(FILES))), st.booleans()),
        st.tuples(st.just("clock"), st.integers(-30, 60), st.just(False)),
        st.tuples(st.just("note"), st.just(0), st.just(False)),
    ),
    max_size=12,
)


@hypothesis_settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)
@given(steps=steps)
def test_no_sequence_takes_anything_from_terminals(time_machine, steps):
    with transaction.atomic():
        time_machine.move_to(START, tick=False)
        make_first_start()
        tree = make_tree(ACME=None, OSLO="ACME")
        make_server("central", client=tree["ACME"])
        make_terminal("OSLO-1", tree["OSLO"])
        before = store.current().document(Door.CONFIGURATION, "OSLO").identity
        highest, stored = START, (None, None)
        for kind, value, confirm in steps:
            if kind == "clock":
                time_machine.move_to(START + value * DAY, tick=False)
            elif kind == "note":
                highest = max(highest, note_moment(monotonic_s=0))
            else:
                try:
                    upload(FILES[value], file_name="x.lic", confirm_older=confirm)
                    highest = max(highest, timezone.now())
                except (LicenseRefused, OlderLicense):
                    assert (standing().present, standing().upcoming) == stored
            where = standing()
            stored = (where.present, where.upcoming)
            assert where.highest == highest
            assert where.moment == max(highest, timezone.now())
            assert where.trial.started_at == START
        assert store.current().document(Door.CONFIGURATION, "OSLO").identity == before
        store.forget()
        transaction.set_rollback(True)
