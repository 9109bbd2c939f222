"""What people and monitoring are shown of the pair, and practising a takeover."""

from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models import F
from django.test import Client
from django.urls import reverse

from boosters.acting_rule import PRACTICE_STAY
from boosters.keeping import Keeper
from boosters.models import ActingLease, BoosterNode
from boosters.pair import pair_standing
from boosters.parameters import Address, Parameters, Role
from boosters.practice import PracticeRefused, latest, practise
from events.models import Event
from licensing.installation import LicenseLimit
from tests.backoffice.api import as_user
from tests.boosters.pairs import node
from tests.factories import make_admin, make_user

pytestmark = pytest.mark.django_db
postgresql = pytest.mark.skipif(connection.vendor != "postgresql", reason="a pair needs PostgreSQL")


@pytest.fixture
def primary(settings):
    """Be the acting primary, whose peer has been there for a while."""
    settings.BOOSTER_PARAMETERS = node(Role.SECONDARY)
    Keeper().keep()
    BoosterNode.objects.update(steady_since=F("steady_since") - timedelta(seconds=60))
    settings.BOOSTER_PARAMETERS = node(Role.PRIMARY)
    keeper = Keeper()
    keeper.keep()
    return keeper


def lose_secondary(seconds=16):
    BoosterNode.objects.filter(role="secondary").update(seen_at=F("seen_at") - timedelta(seconds=seconds))


@postgresql
def test_standing_tells_role_state_version_and_term_of_each_node(primary):
    """OMF-28."""
    standing = pair_standing()

    assert [(n.role, n.address, n.is_acting, n.is_this, n.is_missing, n.version) for n in standing.nodes] == [
        (Role.PRIMARY, "10.0.0.1:5169", True, True, False, "0.1.0"),
        (Role.SECONDARY, "10.0.0.2:5169", False, False, False, "0.1.0"),
    ]
    assert (standing.acting, standing.lease.term, standing.warnings) == (Role.PRIMARY, 1, ())


@postgresql
def test_standing_warns_of_a_missing_peer_and_of_nobody_acting(primary):
    """OMF-25."""
    lose_secondary()
    seen_at = BoosterNode.objects.get(role="secondary").seen_at
    missing = f"The secondary Booster (10.0.0.2:5169) is missing since {seen_at:%Y-%m-%d %H:%M:%S} UTC."
    assert pair_standing().warnings == (missing,)

    primary.release()
    BoosterNode.objects.filter(role="secondary").update(hindrance="There is no licence.")

    assert pair_standing().warnings == (
        missing,
        "No Booster acts: servers are not watched, notices wait, patches are not rolled out.",
        "The secondary Booster does not take over: There is no licence.",
    )


@postgresql
def test_a_primary_without_a_secondary_warns_of_nothing(settings):
    """OMF-02."""
    settings.BOOSTER_PARAMETERS = Parameters(Address("10.0.0.1", 5169), None, "10.0.0.1", 5169)
    Keeper().keep()

    standing = pair_standing()

    assert (len(standing.nodes), standing.acting, standing.warnings) == (1, Role.PRIMARY, ())


def test_a_single_node_acts_and_warns_of_nothing():
    """OMF-02."""
    standing = pair_standing()

    assert (standing.acting, standing.warnings, standing.is_pair) == (Role.SINGLE, (), False)


@postgresql
def test_api_tells_of_the_nodes(primary):
    """OMF-28."""
    lose_secondary()

    answer = as_user(make_admin("root")).get("/api/v1/booster-nodes/").json()

    assert (answer["acting"], answer["term"], len(answer["warnings"])) == ("primary", 1, 1)
    shown = [(n["role"], n["acting"], n["missing"], n["version"]) for n in answer["nodes"]]
    assert shown == [("primary", True, False, "0.1.0"), ("secondary", False, True, "0.1.0")]
    assert answer["nodes"][1]["age_s"] >= 16


@postgresql
def test_actingz_answers_200_on_the_acting_node_only(primary, settings):
    client = Client()
    statuses = [client.get("/actingz").status_code]
    settings.BOOSTER_PARAMETERS = node(Role.SECONDARY)
    answer = client.get("/actingz")

    assert (statuses, answer.status_code, answer.json()["detail"]) == ([200], 503, "this node stands by.")


def test_actingz_says_so_where_the_node_is_neither_of_the_pair(settings):
    """OMF-04."""
    settings.BOOSTER_PARAMETERS = Parameters(Address("192.0.2.1", 5169), Address("192.0.2.2", 5169), "192.0.2.3")

    answer = Client().get("/actingz")

    assert (answer.status_code, "is neither BOOSTER_IP" in answer.json()["detail"]) == (503, True)


@pytest.fixture
def windows():
    def login(user):
        client = Client()
        client.force_login(user)
        return client

    return login


@postgresql
def test_pages_show_the_nodes_and_the_start_page_warns(primary, windows):
    """OMF-25, OMF-28."""
    client = windows(make_admin("root"))
    lose_secondary()

    page, part, start = (
        client.get(path).content.decode() for path in (reverse("pair:nodes"), reverse("pair:nodes-now"), "/admin/")
    )

    for shown in (page, part):
        assert "10.0.0.1:5169" in shown
        assert "The secondary Booster (10.0.0.2:5169) is missing since" in shown
    assert "The secondary Booster (10.0.0.2:5169) is missing since" in start


def test_pages_are_closed_to_those_without_the_right(windows):
    client = windows(make_user("nobody", is_staff=True))

    paths = [reverse(f"pair:{name}") for name in ("nodes", "nodes-now", "practise")]

    assert [client.get(path).status_code for path in paths] == [403, 403, 403]


# --- Practising a takeover ---


@postgresql
def test_practice_hands_the_right_over_and_back(primary, settings):
    asked_at = practise(actor_name="root")

    primary.keep()
    settings.BOOSTER_PARAMETERS = node(Role.SECONDARY)
    secondary = Keeper()
    secondary.keep()
    assert pair_standing().acting is Role.SECONDARY
    ActingLease.objects.update(
        practice_asked_at=F("practice_asked_at") - PRACTICE_STAY,
        practice_over_at=F("practice_over_at") - PRACTICE_STAY,
    )
    BoosterNode.objects.update(steady_since=F("steady_since") - timedelta(seconds=60))
    secondary.keep()
    settings.BOOSTER_PARAMETERS = node(Role.PRIMARY)
    primary.keep()

    standing = pair_standing()
    practice = latest(standing.lease, standing.moment)
    assert (standing.acting, standing.lease.term, practice.asked_at) == (Role.PRIMARY, 3, asked_at - PRACTICE_STAY)
    assert practice.is_over
    assert max(practice.over_s, practice.back_s) < 5
    told = Event.objects.filter(kind__startswith="booster").order_by("pk").values_list("kind", "cause")
    assert [*told] == [
        ("booster-practice-asked", ""),
        ("booster-takeover", "practised"),
        ("booster-return", "practised"),
    ]


@postgresql
def test_practice_is_refused_while_the_secondary_is_missing(primary):
    lose_secondary()

    with pytest.raises(PracticeRefused, match=r"^The secondary Booster is missing\.$"):
        practise()

    assert ActingLease.objects.get().practice_asked_at is None


@postgresql
def test_practice_is_refused_where_the_licence_does_not_allow_a_takeover(primary, monkeypatch):
    """OMF-56."""

    def refuse(action):
        raise LicenseLimit("There is no licence.")

    monkeypatch.setattr("boosters.practice.refuse_unless_allowed", refuse)

    with pytest.raises(LicenseLimit):
        practise()

    assert ActingLease.objects.get().practice_asked_at is None


@postgresql
def test_practice_that_comes_to_nothing_is_given_up(primary):
    practise()
    ActingLease.objects.update(practice_asked_at=F("practice_asked_at") - timedelta(seconds=31))

    standing = pair_standing()

    assert latest(standing.lease, standing.moment).text == (
        "The secondary did not take over within 30 s: the practice was given up."
    )


def test_practice_command_says_in_one_line_that_there_is_no_pair():
    with pytest.raises(CommandError, match=r"^There is no second Booster: set SECOND_BOOSTER_IP on both nodes\.$"):
        call_command("practise_takeover")


def test_practice_button_asks_once_that_is_confirmed(windows):
    client = windows(make_admin("root"))

    page = client.get(reverse("pair:practise"))
    asked = client.post(reverse("pair:practise"), follow=True)

    assert "Practise takeover" in page.content.decode()
    assert "There is no second Booster" in asked.content.decode()
