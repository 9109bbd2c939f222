"""The roll-out as a pure machine (OMF-32 to OMF-34, OMF-36, OMF-38 to OMF-40)."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from boosters import intervention
from boosters.intervention import NotNow
from boosters.rollout import (
    STEPS,
    TIMEOUT,
    Known,
    Patch,
    RollOut,
    RollOutState,
    Step,
    Target,
    TargetState,
    drive,
    heard,
    reported,
)
from boosters.versions import Range, parse

NOON = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
PATCH = Patch(parse("1.2.0.0"), Range(parse("1.1.0.0"), parse("1.2.0.0")))
OLD, NEW = "1.1.0.0", "1.2.0.0"
LATER = NOON + TIMEOUT + timedelta(seconds=1)


def make_roll_out(*targets, state=RollOutState.RUNNING, **fields):
    numbered = [replace(target, number=number) for number, target in enumerate(targets, start=1)]
    return RollOut(PATCH, state, tuple(numbered), **fields)


def make_target(server, *stores, **fields):
    return Target(0, server, stores=frozenset(stores or {server}), **fields)


def all_know(roll_out, **changes):
    return {target.server: Known(OLD, reported_at=NOON, **changes) for target in roll_out.targets}


def ordered(roll_out):
    return [target.server for target in roll_out.targets if target.is_ordered]


def states(roll_out):
    return {target.server: target.state.value for target in roll_out.targets}


def target_of(roll_out, server):
    return next(target for target in roll_out.targets if target.server == server)


def with_target(roll_out, changed):
    return replace(roll_out, targets=tuple(changed if t.number == changed.number else t for t in roll_out.targets))


def say(roll_out, server, state, moment=NOON, **told):
    return with_target(roll_out, heard(roll_out, target_of(roll_out, server), TargetState(state), moment, **told))


def test_one_server_of_an_organization_goes_at_a_time_lowest_precedence_first_and_mains_last_omf_36():
    roll_out = make_roll_out(
        make_target("main", "OSLO", "ROME", is_main=True, priority=99),
        make_target("oslo-1", "OSLO", priority=5),
        make_target("oslo-2", "OSLO", priority=20),
        make_target("rome", "ROME", priority=5),
    )
    turns = []
    servers = all_know(roll_out)

    while roll_out.state is RollOutState.RUNNING:
        roll_out = drive(roll_out, servers, NOON).roll_out
        if ordered(roll_out):
            turns.append(sorted(ordered(roll_out)))
        for server in ordered(roll_out):
            roll_out = say(roll_out, server, "done", version=NEW)

    assert turns == [["oslo-2", "rome"], ["oslo-1"], ["main"]]
    assert roll_out.state is RollOutState.DONE


def test_each_server_that_waits_says_what_for_omf_36():
    roll_out = make_roll_out(
        make_target("a", "OSLO", priority=9),
        make_target("b", "OSLO"),
        make_target("off", "LYON"),
        make_target("late", "NICE"),
        make_target("odd", "PARIS"),
        make_target("new", "LILLE"),
        make_target("next", "ROME", wave=2),
        make_target("elsewhere", "BERN"),
    )
    servers = all_know(roll_out) | {
        "off": Known(OLD, is_reporting=False),
        "late": Known(OLD, may_begin=False),
        "odd": Known("beta"),
        "new": Known(""),
    }

    outcome = drive(roll_out, servers, NOON, {"BERN"})

    assert {target.server: outcome.waits.get(target.number) for target in roll_out.targets} == {
        "a": "Waits for b, which serves the same organization.",
        "b": None,
        "off": "The server is off, or its agent is: it gets the patch at its next report.",
        "late": "Waits for its maintenance window.",
        "odd": "It reports the version 'beta', which cannot be compared.",
        "new": "It has not reported its version yet.",
        "next": "Waits for wave 1 to end.",
        "elsewhere": "Waits for a server of the same organization in another roll-out.",
    }


def test_a_server_out_of_range_is_not_touched_and_the_others_go_on_omf_32():
    roll_out = make_roll_out(make_target("old"), make_target("fits"), make_target("newer"), make_target("has it"))
    servers = {
        "old": Known("1.0.9.9"),
        "fits": Known(OLD),
        "newer": Known("1.3.0.0"),
        "has it": Known(NEW),
    }

    driven = drive(roll_out, servers, NOON).roll_out

    assert {target.server: (target.state.value, target.detail) for target in driven.targets} == {
        "old": ("not_applicable", "It has 1.0.9.9; the patch is for 1.1.0.0 to 1.2.0.0."),
        "fits": ("waiting", ""),
        "newer": ("not_applicable", "It has 1.3.0.0, which is newer than 1.2.0.0."),
        "has it": ("not_applicable", "It has 1.2.0.0 already."),
    }
    assert ordered(driven) == ["fits"]


def test_a_server_that_was_off_gets_its_turn_at_its_next_report_omf_33():
    roll_out = make_roll_out(make_target("off"), make_target("on"))
    servers = {"off": Known(OLD, is_reporting=False), "on": Known(OLD)}

    without = drive(roll_out, servers, NOON).roll_out
    back = drive(without, servers | {"off": Known(OLD)}, NOON).roll_out

    assert (ordered(without), ordered(back)) == (["on"], ["off", "on"])


def test_a_server_that_went_off_before_it_began_waits_again_omf_33():
    roll_out = drive(make_roll_out(make_target("a")), {"a": Known(OLD)}, NOON).roll_out

    later = drive(roll_out, {"a": Known(OLD, is_reporting=False)}, LATER).roll_out

    assert (states(later), ordered(later), later.state) == ({"a": "waiting"}, [], RollOutState.RUNNING)


def test_an_agent_that_reports_but_never_begins_fails_instead_of_keeping_the_others_waiting():
    roll_out = drive(make_roll_out(make_target("a")), {"a": Known(OLD)}, NOON).roll_out

    later = drive(roll_out, {"a": Known(OLD, reported_at=LATER)}, LATER).roll_out

    assert (states(later), later.state) == ({"a": "failed"}, RollOutState.PAUSED)
    assert later.cause.startswith("a: Its agent reports, but has not taken up the order for 10 minutes")


def begun(state="restarting"):
    roll_out = make_roll_out(make_target("a", "OSLO"), make_target("b", "OSLO", priority=5))
    return say(drive(roll_out, all_know(roll_out), NOON).roll_out, "a", state)


def test_no_report_within_ten_minutes_of_the_restart_fails_and_pauses_omf_38_omf_39():
    servers = {"a": Known(OLD, is_reporting=False, reported_at=NOON - timedelta(seconds=5)), "b": Known(OLD)}

    in_time = drive(begun(), servers, NOON + TIMEOUT).roll_out
    late = drive(begun(), servers, LATER).roll_out

    assert (states(in_time)["a"], in_time.state) == ("restarting", RollOutState.RUNNING)
    assert (states(late), late.state, ordered(late)) == ({"a": "failed", "b": "waiting"}, RollOutState.PAUSED, [])
    assert late.cause == (
        "a: It did not come back with the new version within 10 minutes of its restart: it has not reported. "
        "Look at the server; restore its backup if it does not start."
    )


def test_the_first_report_with_the_new_version_ends_the_restart_omf_38():
    roll_out = begun()

    assert reported(roll_out, target_of(roll_out, "a"), OLD, NOON).state is TargetState.RESTARTING
    assert reported(roll_out, target_of(roll_out, "a"), NEW, NOON).state is TargetState.DONE


def test_a_server_that_says_nothing_while_it_applies_fails_after_ten_minutes_omf_38():
    roll_out = begun("applying")
    silent = all_know(roll_out)

    assert states(drive(roll_out, silent, LATER).roll_out)["a"] == "failed"
    beating = {**silent, "a": Known(OLD, reported_at=LATER)}
    assert states(drive(roll_out, beating, LATER).roll_out)["a"] == "applying"


def test_a_failing_backup_stays_on_the_old_version_and_pauses_omf_37_omf_39():
    roll_out = say(begun("backing_up"), "a", "failed", detail="The backup command ended with status 1.")

    paused = drive(roll_out, all_know(roll_out), NOON).roll_out

    assert (paused.state, paused.cause) == (RollOutState.PAUSED, "a: The backup command ended with status 1.")
    assert ordered(drive(paused, all_know(roll_out), LATER).roll_out) == []


def test_an_administrator_resumes_skips_or_cancels_after_a_failure_omf_39():
    paused = drive(say(begun(), "a", "failed", detail="No."), all_know(begun()), NOON).roll_out

    resumed = intervention.resume(paused, NOON)
    skipped = intervention.skip(paused, "a", NOON)
    cancelled = intervention.cancel(paused, NOON)

    assert (states(resumed), resumed.state) == ({"a": "waiting", "b": "waiting"}, RollOutState.RUNNING)
    assert (states(skipped), skipped.state) == ({"a": "skipped", "b": "waiting"}, RollOutState.RUNNING)
    assert (states(cancelled), cancelled.state) == ({"a": "failed", "b": "skipped"}, RollOutState.CANCELLED)


@pytest.mark.parametrize("state", ["backing_up", "applying", "restarting"])
def test_who_is_being_changed_is_neither_skipped_nor_cancelled(state):
    roll_out = begun(state)

    with pytest.raises(NotNow, match="wait for how that ends"):
        intervention.skip(roll_out, "a", NOON)

    cancelled = intervention.cancel(roll_out, NOON)
    assert states(cancelled) == {"a": state, "b": "skipped"}
    assert states(say(cancelled, "a", "done", version=NEW)) == {"a": "done", "b": "skipped"}


@pytest.mark.parametrize(
    "act",
    [intervention.pause, intervention.resume, intervention.skip, intervention.cancel],
    ids=["pause", "resume", "skip", "cancel"],
)
def test_what_is_over_stays_over(act):
    done = replace(begun(), state=RollOutState.DONE)
    argument = {"pause": "x", "resume": NOON, "skip": "a", "cancel": NOON}[act.__name__]

    with pytest.raises(NotNow, match="done"):
        act(done, argument, *([NOON] if act is intervention.skip else []))


def test_the_next_wave_begins_when_the_one_before_is_through_and_has_shown_that_it_works():
    roll_out = make_roll_out(make_target("test"), make_target("north", wave=2), make_target("all", wave=3))
    servers = all_know(roll_out)

    first = drive(roll_out, servers, NOON).roll_out
    second = drive(say(first, "test", "done", version=NEW), servers, NOON).roll_out
    off = drive(roll_out, servers | {"test": Known(OLD, is_reporting=False)}, NOON).roll_out

    assert (ordered(first), ordered(second), ordered(off)) == (["test"], ["north"], [])


def test_a_wave_without_anything_to_do_lets_the_next_begin():
    roll_out = make_roll_out(make_target("test"), make_target("north", wave=2))

    driven = drive(roll_out, all_know(roll_out) | {"test": Known("3.0.0.0")}, NOON).roll_out

    assert (states(driven)["test"], ordered(driven)) == ("not_applicable", ["north"])


def test_a_planned_roll_out_begins_at_its_time():
    roll_out = make_roll_out(make_target("a"), state=RollOutState.PLANNED, begins_at=NOON + timedelta(hours=1))

    early = drive(roll_out, all_know(roll_out), NOON).roll_out
    due = drive(roll_out, all_know(roll_out), NOON + timedelta(hours=1)).roll_out

    assert ((early.state, ordered(early)), (due.state, ordered(due))) == (
        (RollOutState.PLANNED, []),
        (RollOutState.RUNNING, ["a"]),
    )


def test_a_patch_that_changes_the_suffix_alone_is_applied_and_awaited():
    patch = Patch(parse("1.1.0.0fix2"), Range(parse("1.0.0.0"), parse("1.1.0.0")))
    roll_out = replace(make_roll_out(make_target("a")), patch=patch)

    begun = say(drive(roll_out, {"a": Known(OLD)}, NOON).roll_out, "a", "restarting")

    assert reported(begun, target_of(begun, "a"), OLD, NOON).state is TargetState.RESTARTING
    assert reported(begun, target_of(begun, "a"), "1.1.0.0fix2", NOON).state is TargetState.DONE


def test_rolling_back_takes_those_with_the_patch_and_awaits_the_version_before():
    roll_out = make_roll_out(make_target("a", wanted=OLD), make_target("other", wanted=OLD), step=Step.ROLL_BACK)
    driven = drive(roll_out, {"a": Known(NEW), "other": Known(OLD)}, NOON).roll_out

    restarted = say(driven, "a", "restarting")

    assert states(driven) == {"a": "waiting", "other": "not_applicable"}
    assert reported(restarted, target_of(restarted, "a"), NEW, NOON).state is TargetState.RESTARTING
    assert reported(restarted, target_of(restarted, "a"), OLD, NOON).state is TargetState.DONE


def test_an_agent_that_says_done_with_another_version_has_failed():
    roll_out = say(begun("applying"), "a", "done", version="1.1.5.0")

    assert target_of(roll_out, "a").detail == "It is done, but has 1.1.5.0 instead of 1.2.0.0."


@pytest.mark.parametrize("state", ["waiting", "skipped", "not_applicable"])
def test_what_is_not_an_agents_to_say_is_refused(state):
    with pytest.raises(ValueError, match="An agent cannot say"):
        say(begun(), "a", state)


class Drivers(RuleBasedStateMachine):
    """Two drivers that take over from each other at any time, agents that repeat themselves, fail and vanish."""

    def __init__(self):
        super().__init__()
        self.now = NOON
        self.roll_out = make_roll_out(
            make_target("oslo-1", "OSLO", priority=20),
            make_target("oslo-2", "OSLO", priority=5),
            make_target("rome", "ROME", wave=2),
            make_target("main", "OSLO", "ROME", is_main=True, wave=2),
        )
        self.versions = dict.fromkeys(states(self.roll_out), OLD)
        self.off = set()
        self.touched = set()  # who was being changed, and has not been said to have failed since

    def servers(self):
        return {
            name: Known(version, is_reporting=name not in self.off, reported_at=None if name in self.off else self.now)
            for name, version in self.versions.items()
        }

    @rule()
    def drive_twice(self):
        once = drive(self.roll_out, self.servers(), self.now).roll_out
        again = drive(once, self.servers(), self.now).roll_out  # whoever takes over right then
        assert again == once
        for before, after in zip(self.roll_out.targets, once.targets, strict=True):
            if after.state is TargetState.FAILED:
                self.touched.discard(after.server)
            if after.ordered_at not in (None, before.ordered_at):
                assert after.server not in self.touched  # nothing is applied twice (OMF-40)
        self.roll_out = once

    @rule(seconds=st.sampled_from([1, 30, 599, 602]))
    def wait(self, seconds):
        self.now += timedelta(seconds=seconds)

    @rule(name=st.sampled_from(["oslo-1", "oslo-2", "rome", "main"]))
    def switch(self, name):
        self.off ^= {name}

    @rule(name=st.sampled_from(["oslo-1", "oslo-2", "rome", "main"]), state=st.sampled_from(STEPS[1:]))
    def speak(self, name, state):
        target = target_of(self.roll_out, name)
        if name in self.off or not target.is_ordered:
            return
        if state.is_touching:
            self.touched.add(name)
        if state is TargetState.DONE:
            self.versions[name] = NEW
        before = target.state
        self.roll_out = say(self.roll_out, name, state, self.now, version=self.versions[name])
        assert STEPS.index(target_of(self.roll_out, name).state) >= STEPS.index(before)

    @rule(name=st.sampled_from(["oslo-1", "oslo-2", "rome", "main"]))
    def fail(self, name):
        target = target_of(self.roll_out, name)
        if name not in self.off and target.is_ordered:
            self.roll_out = say(self.roll_out, name, "failed", self.now, detail="Disk full.")
            self.touched.discard(name)

    @precondition(lambda self: self.roll_out.state is RollOutState.PAUSED)
    @rule(name=st.sampled_from(["oslo-1", "oslo-2", "rome", "main"]), way=st.sampled_from(["resume", "skip"]))
    def help(self, name, way):
        try:
            if way == "resume":
                self.roll_out = intervention.resume(self.roll_out, self.now)
            else:
                self.roll_out = intervention.skip(self.roll_out, name, self.now)
        except NotNow:
            pass

    @invariant()
    def no_organization_misses_two_servers(self):
        busy = [store for target in self.roll_out.targets if target.is_ordered for store in target.stores]
        assert len(busy) == len(set(busy))

    @invariant()
    def nothing_begins_while_it_is_not_running(self):
        if self.roll_out.state is RollOutState.PAUSED:
            again = drive(self.roll_out, self.servers(), self.now).roll_out
            assert set(ordered(again)) <= set(ordered(self.roll_out))

    @invariant()
    def what_is_over_is_over_for_every_server(self):
        if self.roll_out.state is RollOutState.DONE:
            assert all(target.state.is_over for target in self.roll_out.targets)
            assert drive(self.roll_out, self.servers(), self.now).roll_out == self.roll_out

    @invariant()
    def who_has_the_patch_is_never_ordered_anew(self):
        driven = drive(self.roll_out, self.servers(), self.now).roll_out
        for before, after in zip(self.roll_out.targets, driven.targets, strict=True):
            if self.versions[before.server] == NEW and not before.is_ordered:
                assert not after.is_ordered


Drivers.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestDrivers = Drivers.TestCase
