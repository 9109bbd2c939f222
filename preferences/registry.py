"""Every preference: declared once with key, label, type, unit, default and bounds.

Source: seed, "Preferences: token age, offline ping"; reference/openbravo 1.5. Bounds that the
original enforces in its client are minimums here; a value outside them is refused on saving, and
where one is found anyway the default holds (N11).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar


class Kind(StrEnum):
    FLAG = "flag"
    INTEGER = "integer"


class Scope(StrEnum):
    SYSTEM = "system"
    ORGANIZATION = "organization"


class Origin(StrEnum):
    """Where an effective value comes from when no organization sets it."""

    SYSTEM = "system"
    DEFAULT = "default"


# What names an organization: its code in the landscape, its row id in the database.
Place = TypeVar("Place")


@dataclass(frozen=True, slots=True)
class Definition:
    """One preference.

    `original` is the search key an unmodified Web POS knows it by; `unit` is `ms`, `s`, `count`
    or empty for a flag, whose values are exactly `Y` and `N`. `in_configuration` tells whether the
    terminals' configuration carries it, `in_webpos` whether the Web POS answer does.
    """

    key: str
    label: str
    original: str
    help: str
    default: int | bool
    kind: Kind = Kind.INTEGER
    unit: str = ""
    minimum: int | None = None
    maximum: int | None = None
    scope: Scope = Scope.ORGANIZATION
    in_configuration: bool = True
    in_webpos: bool = True

    def parse(self, text: str) -> int | bool:
        """Return the value that `text` spells; ValueError with the reason when it is none."""
        if self.kind is Kind.FLAG:
            if text not in ("Y", "N"):
                raise ValueError(f"{self.label} must be exactly Y or N.")
            return text == "Y"
        if not text.isascii() or not text.isdecimal() or len(text) > 12:  # noqa: PLR2004 - far above any maximum
            raise ValueError(f"{self.label} must be a whole number{f' of {self.unit_name}' if self.unit else ''}.")
        value = int(text)
        if self.minimum is not None and value < self.minimum:
            raise ValueError(f"{self.label} must be at least {self.minimum}{self.unit_suffix}.")
        if self.maximum is not None and value > self.maximum:
            raise ValueError(f"{self.label} must be at most {self.maximum}{self.unit_suffix}.")
        return value

    def spell(self, value: int | bool) -> str:
        """Return the text that stands for `value`."""
        if self.kind is Kind.FLAG:
            return "Y" if value else "N"
        return str(value)

    def decide(
        self, texts: Mapping[tuple[str, Place | None], str], nearest_first: Iterable[Place]
    ) -> tuple[int | bool, Place | Origin]:
        """Return the effective value and the place it comes from.

        `texts` holds what was set by key and place (None: for the whole system), `nearest_first` the
        active organizations from the asking one up. The nearest that sets the preference decides,
        then the system, then the default; the default also holds where the deciding text is out of
        bounds or spells nothing (N11).
        """
        places: list[Place | None] = [*nearest_first] if self.scope is Scope.ORGANIZATION else []
        for place in [*places, None]:
            text = texts.get((self.key, place))
            if text is None:
                continue
            try:
                return self.parse(text), Origin.SYSTEM if place is None else place
            except ValueError:
                break
        return self.default, Origin.DEFAULT

    @property
    def unit_name(self) -> str:
        return {"ms": "milliseconds", "s": "seconds"}.get(self.unit, self.unit)

    @property
    def unit_suffix(self) -> str:
        return f" {self.unit}" if self.unit in ("ms", "s") else ""


DAY_MS = 86_400_000

DEFINITIONS: tuple[Definition, ...] = (
    Definition(
        key="multi_server_enabled",
        label="Mobile Multi-Server Architecture Enablement",
        original="OBMOBC_MultiServerArchitecture",
        help="Y lets terminals use the servers defined for their store; otherwise they work in the standard way.",
        kind=Kind.FLAG,
        default=False,
        scope=Scope.SYSTEM,
        in_configuration=False,
    ),
    Definition(
        key="ping_interval_ms",
        label="Request Router Ping Time Interval",
        original="OBMOBC_RequestRouterPingTime",
        help="How often a terminal pings a server it found offline.",
        unit="ms",
        default=300_000,
        minimum=60_000,
        maximum=DAY_MS,
    ),
    Definition(
        key="token_refresh_interval_ms",
        label="Request Router Refresh Token Interval",
        original="OBMOBC_RequestRouterTokenRefreshInterval",
        help="How often a terminal asks for a new login token. Should be less than the token max age.",
        unit="ms",
        default=1_800_000,
        minimum=600_000,
        maximum=DAY_MS,
    ),
    Definition(
        key="token_max_age_ms",
        label="Authentication Token Max Age",
        original="OBMOBC_AuthenticationTokenMaxAge",
        help="Older login tokens are rejected by every server.",
        unit="ms",
        default=43_200_000,
        minimum=60_000,
        maximum=30 * DAY_MS,
        in_webpos=False,
    ),
    Definition(
        key="request_retries",
        label="Number of Request Retries",
        original="OBMOBC_NumberOfRequestRetries",
        help="How often a request is tried again on the same server before the next one is called.",
        unit="count",
        default=0,
        minimum=0,
        maximum=10,
    ),
    Definition(
        key="request_timeout_s",
        label="Default Request Timeout",
        original="OBMOBC_DefaultRequestTimeout",
        help="Used for a service that has no timeout of its own.",
        unit="s",
        default=15,
        minimum=1,
        maximum=3_600,
    ),
    Definition(
        key="poll_interval_s",
        label="Configuration Poll Interval",
        original="",
        help="How often a terminal asks the Booster for its configuration and the servers' status.",
        unit="s",
        default=60,
        minimum=5,
        maximum=3_600,
        in_webpos=False,
    ),
    Definition(
        key="heartbeat_interval_s",
        label="Agent Heartbeat Interval",
        original="",
        help="How often the agent beside a server reports to the Booster.",
        unit="s",
        default=30,
        minimum=5,
        maximum=3_600,
        in_configuration=False,
        in_webpos=False,
    ),
    Definition(
        key="missed_heartbeats",
        label="Missed Heartbeats",
        original="",
        help="After so many heartbeats that did not come, a server begins its transition to offline.",
        unit="count",
        default=3,
        minimum=1,
        maximum=100,
        in_configuration=False,
        in_webpos=False,
    ),
    Definition(
        key="transition_to_offline_wait_s",
        label="Transition to Offline Wait",
        original="",
        help="How long a server may take to come back before its transition ends in offline.",
        unit="s",
        default=300,
        minimum=0,
        maximum=86_400,
        in_configuration=False,
        in_webpos=False,
    ),
    Definition(
        key="transition_to_online_wait_s",
        label="Transition to Online Wait",
        original="",
        help="How long a server may take to get ready before its transition to online ends in offline.",
        unit="s",
        default=100,
        minimum=1,
        maximum=86_400,
        in_configuration=False,
        in_webpos=False,
    ),
    Definition(
        key="failed_transition_to_online_wait_s",
        label="Failed Transition to Online Wait",
        original="",
        help="How long after the start of a failed transition to online the next one begins.",
        unit="s",
        default=300,
        minimum=0,
        maximum=86_400,
        in_configuration=False,
        in_webpos=False,
    ),
    Definition(
        key="probe_interval_s",
        label="Probe Interval",
        original="",
        help="How often a server without an agent is called, unless its own definition says otherwise.",
        unit="s",
        default=60,
        minimum=5,
        maximum=86_400,
        in_configuration=False,
        in_webpos=False,
    ),
    Definition(
        key="failures_before_offline",
        label="Failures before Offline",
        original="",
        help="After so many probes in a row that failed, a server begins its transition to offline.",
        unit="count",
        default=3,
        minimum=1,
        maximum=100,
        in_configuration=False,
        in_webpos=False,
    ),
    Definition(
        key="successes_before_online",
        label="Successes before Online",
        original="",
        help="So many good heartbeats or probes in a row end the transition to online.",
        unit="count",
        default=1,
        minimum=1,
        maximum=100,
        in_configuration=False,
        in_webpos=False,
    ),
    Definition(
        key="flapping_losses",
        label="Losses that Count as Flapping",
        original="",
        help="A server that leaves online so often within the flapping window is flagged as flapping.",
        unit="count",
        default=3,
        minimum=2,
        maximum=100,
        in_configuration=False,
        in_webpos=False,
    ),
    Definition(
        key="flapping_window_s",
        label="Flapping Window",
        original="",
        help="How far back losses count, and how long a server must stay calm to lose the flag.",
        unit="s",
        default=3_600,
        minimum=60,
        maximum=86_400,
        in_configuration=False,
        in_webpos=False,
    ),
    Definition(
        key="terminal_unseen_after_s",
        label="Terminal Unseen After",
        original="",
        help="A terminal that does not call for so long gives a notice. 0: never.",
        unit="s",
        default=0,
        minimum=0,
        maximum=30 * 86_400,
        in_configuration=False,
        in_webpos=False,
    ),
    Definition(
        key="synchronized_mode",
        label="Synchronized Mode",
        original="OBMOBC_SynchronizedMode",
        help="Y makes a Web POS wait until each transaction has been processed.",
        kind=Kind.FLAG,
        default=False,
        in_configuration=False,
    ),
)

BY_KEY: dict[str, Definition] = {definition.key: definition for definition in DEFINITIONS}


def choices() -> list[tuple[str, str]]:
    """Return key and label of every preference, as a field's choices."""
    return [(definition.key, definition.label) for definition in DEFINITIONS]
