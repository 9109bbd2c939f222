"""How much of a time a server was online, from its transitions: pure values, no database, no clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise, takewhile, zip_longest
from typing import NamedTuple

from servers.status import Status


class Step(NamedTuple):
    """That a server was in `status` from `at` on."""

    at: datetime
    status: Status


class Interval(NamedTuple):
    """A time from `start` up to, but without, `end`."""

    start: datetime
    end: datetime


WORST_FIRST = (Status.OFFLINE, Status.TRANSITION_TO_OFFLINE, Status.TRANSITION_TO_ONLINE, Status.ONLINE)


@dataclass(frozen=True, slots=True)
class Bucket:
    """One piece of a heartbeat bar: the worst state in it, None where nothing is known of it."""

    start: datetime
    end: datetime
    worst: Status | None


def uptime(
    transitions: Iterable[Step],
    excluded: Iterable[tuple[datetime, datetime]],
    start: datetime,
    end: datetime,
    *,
    proved_at: datetime | None = None,
) -> float | None:
    """Return the share, 0 to 1, of the time from `start` to `end` that a server was online; None if none counts.

    `transitions` are those in that time and the last before it, oldest first: before the first of
    them nothing is known, and nothing counts. Neither does the time before `proved_at`, when the
    server was online for the first time, nor that of the `excluded` pairs of start and end (maintenance),
    which may overlap. The transitions to online and offline are not online.
    """
    counted_from = start if proved_at is None else max(start, proved_at)
    counted = online = timedelta(0)
    windows = deque(_merged(excluded))
    for status, stretch in _stretches(transitions, counted_from, end):
        while windows and windows[0].end <= stretch.start:
            windows.popleft()
        touching = takewhile(partial(_begins_before, stretch.end), windows)
        length = stretch.end - stretch.start - sum((_overlap(stretch, window) for window in touching), timedelta(0))
        counted += length
        if status is Status.ONLINE:
            online += length
    return online / counted if counted else None


def heartbeat_bar(transitions: Iterable[Step], start: datetime, end: datetime, buckets: int) -> list[Bucket]:
    """Return the time from `start` to `end` in `buckets` equal pieces, oldest first, each with its worst state.

    `transitions` are those in that time and the last before it, oldest first
    (`servers.history.steps_of` reads them). Worst is offline, then transition to offline, transition
    to online, online; a state that lasted no time does not count. A piece that reaches beyond the
    present should not be asked for: end at the moment of the page.
    """
    edges = [start + (end - start) * number / buckets for number in range(buckets)] + [end]
    worst: list[Status | None] = [None] * buckets
    number = 0
    for status, stretch in _stretches(transitions, start, end):
        while edges[number + 1] <= stretch.start:
            number += 1
        reached = number
        while reached < buckets and edges[reached] < stretch.end:
            worst[reached] = _worse(worst[reached], status)
            reached += 1
    return [Bucket(*edge, status) for edge, status in zip(pairwise(edges), worst, strict=True)]


def _stretches(transitions: Iterable[Step], start: datetime, end: datetime) -> Iterator[tuple[Status, Interval]]:
    """Yield each state with the part of the time from `start` to `end` in which it lasted, if it lasted any."""
    steps = list(transitions)
    for step, following in zip_longest(steps, steps[1:]):
        stretch = Interval(max(step.at, start), min(following.at, end) if following else end)
        if stretch.start < stretch.end:
            yield step.status, stretch


def _merged(intervals: Iterable[tuple[datetime, datetime]]) -> Sequence[Interval]:
    """Return the same time without overlaps, oldest first."""
    merged: list[Interval] = []
    for interval in (Interval(start, end) for start, end in sorted(intervals)):
        if merged and interval.start <= merged[-1].end:
            merged[-1] = Interval(merged[-1].start, max(merged[-1].end, interval.end))
        else:
            merged.append(interval)
    return merged


def _begins_before(end: datetime, interval: Interval) -> bool:
    return interval.start < end


def _overlap(one: Interval, other: Interval) -> timedelta:
    return max(timedelta(0), min(one.end, other.end) - max(one.start, other.start))


def _worse(known: Status | None, status: Status) -> Status:
    return status if known is None else min(known, status, key=WORST_FIRST.index)
