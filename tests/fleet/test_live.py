"""Live updates: what a stream tells, to whom, and what a viewer costs."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.urls import reverse
from django.utils import timezone

from accounts.scope import STORE_OPERATOR
from fleet.frames import Frame
from fleet.live import Looker, Subject, Viewer, event, told
from fleet.models import Reachability
from organizations.tree import update_organization
from preferences.models import PreferenceValue
from servers.models import ServerState
from tests.factories import make_admin, make_server, make_terminal, make_tree, make_user
from tests.fleet.rows import make_pulse, make_report, make_state

EVENTS = "/admin/fleet/events"


def make_session(user):
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.save()
    return session


def make_viewer(user, subject=Subject(), seen=""):  # noqa: B008 - a constant value
    return Viewer(user.pk, make_session(user).session_key, user.get_session_auth_hash(), subject, seen)


@pytest.fixture
def tree(db):
    tree = make_tree(ACME=None, NORTH="ACME", OSLO="NORTH", SOUTH="ACME", ROME="SOUTH")
    PreferenceValue.objects.create(key="multi_server_enabled", value="Y")
    make_pulse()
    return tree


def heard(content):
    """Return name and data of every event in a stream's bytes."""
    found = []
    for block in content.decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line)
        if "event" in fields:
            found.append((fields["event"], json.loads(fields["data"])))
    return found


# --- What is told --------------------------------------------------------------------------------

OLD = Frame("a", {"x": "1", "y": "1"})
NEW = Frame("a", {"x": "2", "y": "1"})
OTHER = Frame("b", {"x": "2"})


@pytest.mark.parametrize(
    ("frame", "shown", "seen", "expected"),
    [
        (OLD, None, OLD.digest, b""),
        (NEW, None, OLD.digest, event("parts", NEW.parts, NEW.digest)),
        (NEW, None, OTHER.digest, event("refresh", {}, NEW.digest)),
        (NEW, None, "", event("refresh", {}, NEW.digest)),
        (NEW, OLD, "", event("parts", {"x": "2"}, NEW.digest)),
        (OTHER, OLD, "", event("refresh", {}, OTHER.digest)),
        (Frame("a", {"y": "1", "x": "1"}), OLD, "", b""),
    ],
)
def test_a_page_is_told_what_differs_from_what_it_has(frame, shown, seen, expected):
    assert told(frame, shown, seen) == expected


def test_an_event_is_one_block_of_lines_whatever_it_holds():
    told = event("parts", {"x": "a\nb\n\ndata: c"}, "d")

    assert told.count(b"\n\n") == 1
    assert heard(told) == [("parts", {"x": "a\nb\n\ndata: c"})]


# --- Who is told ---------------------------------------------------------------------------------


def test_a_limited_user_hears_of_his_stores_only(tree):
    central = make_server("central", client=tree["ACME"])
    make_server("roman", client=tree["ACME"], organizations=[tree["ROME"]])
    make_state(central)
    operator = make_user(role=STORE_OPERATOR, is_staff=True)
    operator.organizations.add(tree["NORTH"])
    viewers = [make_viewer(make_admin()), make_viewer(operator), make_viewer(operator, Subject(store="ROME"))]

    frames = Looker().look(viewers, timezone.now())

    names = [None if frame is None else {name for name in frame.parts if "-" in name} for frame in frames.values()]
    stores = [
        None if found is None else {name for name in found if name.startswith(("store-", "server-"))} for found in names
    ]
    assert stores == [
        {"store-OSLO", "store-ROME", "server-central", "server-roman"},
        {"store-OSLO", "server-central"},
        None,
    ]


def test_a_user_whose_organizations_change_hears_of_the_new_ones_after_a_while(tree, time_machine):
    time_machine.move_to("2026-11-27 09:00Z", tick=False)
    operator = make_user(role=STORE_OPERATOR, is_staff=True)
    operator.organizations.add(tree["NORTH"])
    viewer = make_viewer(operator)
    looker = Looker()
    shown = []

    for _ in range(2):
        shown.append({name for name in looker.look([viewer], timezone.now())[viewer].parts if "store-" in name})
        operator.organizations.set([tree["SOUTH"]])
        time_machine.shift(timedelta(seconds=31))

    assert shown == [{"store-OSLO"}, {"store-ROME"}]


def test_a_move_in_the_tree_is_heard_at_once(tree):
    viewer = make_viewer(make_admin())
    looker = Looker()
    before = looker.look([viewer], timezone.now())[viewer]

    update_organization(tree["OSLO"].pk, name="Oslo City")

    after = looker.look([viewer], timezone.now())[viewer]
    assert told(after, before, "") == event("refresh", {}, after.digest)


def end_session(viewer, user):
    Session.objects.filter(session_key=viewer.session_key).delete()


def let_session_expire(viewer, user):
    Session.objects.update(expire_date=timezone.now())


def deactivate(viewer, user):
    user.is_active = False
    user.save()


def dismiss(viewer, user):
    user.is_staff = False
    user.save()


def change_password(viewer, user):
    user.set_password("another-horse-8")
    user.save()


def delete(viewer, user):
    user.delete()


@pytest.mark.parametrize("change", [end_session, let_session_expire, deactivate, dismiss, change_password, delete])
def test_a_stream_ends_with_the_session_and_the_user(tree, change):
    user = make_admin()
    viewer, other = make_viewer(user), make_viewer(make_admin())
    looker = Looker()
    before = looker.look([viewer], timezone.now())
    later = timezone.now() + timedelta(seconds=1)

    change(viewer, user)
    if change is let_session_expire:
        other = make_viewer(make_admin())

    frames = looker.look([viewer, other], later)
    assert (before[viewer] is not None, frames[viewer], frames[other] is not None) == (True, None, True)


def test_a_stream_ends_when_the_right_is_taken_away(tree, time_machine):
    time_machine.move_to("2026-11-27 09:00Z", tick=False)
    user = make_user(role=STORE_OPERATOR, is_staff=True)
    user.organizations.add(tree["NORTH"])
    viewer, looker = make_viewer(user), Looker()
    assert looker.look([viewer], timezone.now())[viewer] is not None

    user.groups.clear()
    time_machine.shift(timedelta(seconds=31))

    assert looker.look([viewer], timezone.now()) == {viewer: None}


# --- What it costs -------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 3, 50])
def test_viewers_cost_no_query_of_their_own(tree, count, django_assert_num_queries):
    server = make_server("central", client=tree["ACME"])
    make_state(server)
    make_report(server, last_seen_at=timezone.now())
    make_terminal("OSLO-1", tree["OSLO"])
    user = make_admin()
    subjects = [Subject(), Subject(server=server.key), Subject(store="OSLO")]
    viewers = [make_viewer(user, subject) for subject in subjects for _ in range(count)]
    looker = Looker()
    looker.look(viewers, timezone.now())

    with django_assert_num_queries(13):
        looker.look(viewers, timezone.now())


def test_the_page_of_a_server_is_fetched_anew_when_others_say_something_else_of_it(tree):
    server = make_server("box", client=tree["ACME"])
    observer = make_server("central", client=tree["ACME"])
    viewer = make_viewer(make_admin(), Subject(server="box"))
    quarter = timedelta(minutes=15)
    begun = (
        datetime.min.replace(tzinfo=UTC) + ((timezone.now() - datetime.min.replace(tzinfo=UTC)) // quarter) * quarter
    )
    moments = [begun, begun + timedelta(seconds=2), begun + timedelta(seconds=4), begun + quarter]
    looker = Looker()
    layouts = []
    for number, moment in enumerate(moments):
        if number == 1:
            Reachability.objects.create(
                server=server, observing_server=observer, is_reachable=False, since=moment, seen_at=moment
            )
        layouts.append(looker.look([viewer], moment)[viewer].layout)

    assert layouts[0] != layouts[1] == layouts[2] != layouts[3]


def test_viewers_of_the_same_share_one_frame_and_an_unchanged_one_is_kept(tree):
    make_state(make_server("central", client=tree["ACME"]))
    viewers = [make_viewer(make_admin()) for _ in range(3)]
    looker = Looker()

    first = looker.look(viewers, timezone.now())
    second = looker.look(viewers, timezone.now())
    ServerState.objects.update(status="offline")
    third = looker.look(viewers, timezone.now())

    assert len({id(frame) for frame in [*first.values(), *second.values()]}) == 1
    assert third[viewers[0]].changes(first[viewers[0]]).keys() == {
        "store-OSLO",
        "store-ROME",
        "server-central",
        "group-NORTH",
        "group-SOUTH",
        "count-ok",
        "count-down",
    }


# --- The address ---------------------------------------------------------------------------------


def test_a_server_that_cannot_stream_answers_once_and_is_asked_again(client, tree):
    server = make_server("central", client=tree["ACME"])
    make_state(server)
    client.force_login(make_admin())
    seen = client.get("/admin/fleet/").context["seen"]

    same = client.get(EVENTS, {"page": "fleet", "seen": seen})
    make_state(server, "offline")
    news = client.get(EVENTS, {"page": "fleet", "seen": seen})
    again = client.get(EVENTS, {"page": "fleet"}, headers={"Last-Event-ID": news.content.split()[3].decode()})

    assert (same.headers["Content-Type"], same.headers["Cache-Control"]) == ("text/event-stream", "no-store")
    assert [heard(answer.content) for answer in (same, again)] == [[], []]
    assert [(name, "Down" in data["store-OSLO"]) for name, data in heard(news.content)] == [("parts", True)]


def test_whoever_is_not_logged_in_is_told_that_the_session_ended(client, tree):
    answer = client.get(EVENTS, {"page": "fleet"})

    assert (answer.status_code, heard(answer.content)) == (200, [("ended", {})])


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"page": "x"},
        {"server": "999999"},
        {"server": "x"},
        {"server": "9" * 40},
        {"store": "NORTH"},
        {"store": "\0"},
    ],
)
def test_what_is_not_there_cannot_be_watched(client, tree, query):
    client.force_login(make_admin())

    assert client.get(EVENTS, query).status_code == 404


def test_streams_are_for_those_with_the_right_and_what_they_may_see(client, tree):
    foreign = make_server("roman", client=tree["ACME"], organizations=[tree["ROME"]])
    client.force_login(make_user(is_staff=True))
    nobody = client.get(EVENTS, {"page": "fleet"})
    operator = make_user(role=STORE_OPERATOR, is_staff=True)
    operator.organizations.add(tree["NORTH"])
    client.force_login(operator)
    asked = [{"page": "fleet"}, {"store": "OSLO"}, {"store": "ROME"}, {"server": foreign.pk}]

    statuses = [client.get(EVENTS, query).status_code for query in asked]

    assert (nobody.status_code, statuses) == (403, [200, 200, 404, 404])


def test_streams_are_only_read(client, tree):
    client.force_login(make_admin())

    assert client.post(reverse("fleet:events") + "?page=fleet").status_code == 405
