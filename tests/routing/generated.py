"""Generated configurations: small, tangled, and with everything that can go wrong in a database."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

from preferences.registry import BY_KEY
from routing.landscape import Assignment, Landscape, Organization, PreferenceValue, Server, Service

CODES = ["ACME", "acme", "NORTH", "Ä", "Z", "a", "Østfold", "LYON", "lyon", "0"]
PARTS = ["a", "b", "A", "ab", "Order", "é"]
MOSTLY = st.sampled_from([True, True, True, False])
NUMBER_KEYS = ["ping_interval_ms", "request_retries", "token_max_age_ms"]
ADDRESSES = ["https://one.example/ob", "http://two.example", "https://one.example"]


@dataclass(frozen=True)
class Configuration:
    organizations: list[Organization]
    services: list[Service]
    servers: list[Server]
    preferences: list[PreferenceValue]

    def landscape(self) -> Landscape:
        return Landscape.of(self.organizations, self.services, self.servers, self.preferences)

    @property
    def codes(self) -> list[str]:
        return [organization.code for organization in self.organizations]


service_names = (
    st.lists(st.tuples(st.sampled_from(PARTS), st.sampled_from([".", "/", ""])), min_size=1, max_size=3)
    .map(lambda parts: "".join(part + joint for part, joint in parts))
    .map(lambda name: name.rstrip("./"))
)


@st.composite
def forests(draw):
    """Trees of one to three clients; now and then a link that leads in a circle or nowhere."""
    codes = draw(st.lists(st.sampled_from(CODES), min_size=1, max_size=8, unique=True))
    clients = codes[: draw(st.integers(1, min(3, len(codes))))]
    organizations = [Organization(code, code.title(), "client", None, draw(MOSTLY)) for code in clients]
    inner = list(clients)
    for code in codes[len(clients) :]:
        kind = draw(st.sampled_from(["region", "store"]))
        parent = draw(st.sampled_from(inner))
        if draw(st.integers(0, 15)) == 0:
            parent = draw(st.sampled_from([*codes, "NOWHERE"]))
        organizations.append(Organization(code, code.title(), kind, parent, draw(MOSTLY)))
        if kind == "region":
            inner.append(code)
    return organizations


@st.composite
def services(draw):
    names = draw(st.lists(service_names, max_size=7, unique=True))
    if draw(st.booleans()):
        names.append("Generic")
    timeouts = st.none() | st.integers(1, 60)
    return [
        Service(
            name,
            "failover" if name == "Generic" else draw(st.sampled_from(["failover", "broadcast", "ping"])),
            False,
            draw(timeouts),
            draw(timeouts),
            draw(MOSTLY),
        )
        for name in dict.fromkeys(names)
    ]


def rows(targets):
    """Rows of a tab, each target once as the database has it."""
    if not targets:
        return st.just(())
    row = st.builds(Assignment, st.sampled_from(targets), MOSTLY)
    return st.lists(row, max_size=4, unique_by=lambda row: row.target).map(tuple)


@st.composite
def configurations(draw):
    organizations = draw(forests())
    offered = draw(services())
    codes = [organization.code for organization in organizations]
    clients = [organization.code for organization in organizations if organization.kind == "client"]
    names = [service.name for service in offered]
    servers = [
        Server(
            key=key,
            name=draw(st.sampled_from(["Box", "box", "Zone", "Äbox"])),
            client=draw(st.sampled_from(clients)),
            server_type=draw(st.sampled_from(["main", "store"])),
            url=draw(st.sampled_from(ADDRESSES)),
            priority=draw(st.integers(0, 2)),
            all_organizations=draw(st.booleans()),
            all_services=draw(st.booleans()),
            defined_services=draw(st.sampled_from(["only", "all_excluding"])),
            organizations=draw(rows(codes)),
            services=draw(rows(names)),
            is_active=draw(MOSTLY),
        )
        for key in draw(st.lists(st.sampled_from(["k1", "k2", "K3", "_k4", "a-5", "B6"]), max_size=6, unique=True))
    ]
    values = st.sampled_from(["0", "1", "3", "59999", "60000", "120000", "9" * 13, "", "often", "-1", "1.5"])
    preferences = [
        PreferenceValue(key, place, draw(values))
        for key in NUMBER_KEYS
        for place in draw(st.lists(st.sampled_from([None, *codes]), max_size=3, unique=True))
    ]
    enabled = draw(st.sampled_from(["Y", "Y", "Y", "N", "y", "", None]))
    if enabled is not None:
        preferences.append(PreferenceValue("multi_server_enabled", None, enabled))
    if draw(st.integers(0, 5)) == 0:
        preferences.append(PreferenceValue("multi_server_enabled", draw(st.sampled_from(codes)), "Y"))
    return Configuration(organizations, offered, servers, preferences)


def requests(configuration):
    """Request texts that contain one service, several, or none."""
    names = [service.name for service in configuration.services] or ["a"]
    piece = st.sampled_from([*names, *PARTS, "/", ".", "Generic", "x"])
    return st.lists(piece, max_size=4).map("".join)


def bounds(key):
    definition = BY_KEY[key]
    return definition.default, definition.minimum, definition.maximum
