"""A small configuration with one object of every collection."""

from datetime import UTC, datetime, timedelta

from boosters.patch_models import Patch
from boosters.rolling import create
from fleet.models import Incident, Maintenance
from notices.models import Delivery, Notice
from notices.outbox import tell
from preferences.models import PreferenceValue
from servers.models import StatusTransition
from tests.factories import make_channel, make_module, make_server, make_service, make_terminal, make_tree

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def make_world():
    """Make a store OSLO with one of everything; return its objects by the collection they are in."""
    tree = make_tree(ACME=None, NORTH="ACME", OSLO="NORTH", EMPTY="NORTH", OTHER=None, ROME="OTHER")
    module = make_module("org.example.draft", in_development=True)
    service = make_service("org.example.draft.Save", module=module)
    terminal = make_terminal("OSLO-1", tree["OSLO"])
    server = make_server("LyonBox", client=tree["ACME"], organizations=[tree["OSLO"]])
    channel = make_channel("office", organization=tree["OSLO"])
    tell("test", key="notice", subject="Oh", text="", moment=NOW, organization=tree["OSLO"])
    Delivery.objects.update(state="given_up", next_attempt_at=None)
    patch = Patch.objects.create(
        product="POS",
        name="Summer",
        version="1.2.0.0",
        fits_from="1.1.0.0",
        fits_to="1.2.0.0",
        size_bytes=1,
        sha256="0" * 64,
        apply="apply.sh",
        key_id="vendor",
        uploaded_at=NOW,
    )
    objects = {
        "organizations": tree["EMPTY"],
        "modules": make_module("org.example.empty"),
        "services": service,
        "preferences": PreferenceValue.objects.create(key="request_retries", value="1", organization=tree["OSLO"]),
        "servers": server,
        "terminals": terminal,
        "status-transitions": StatusTransition.objects.create(
            server=server,
            server_key=server.key,
            from_status="offline",
            to_status="transition_to_online",
            at=NOW,
            cause="It answers.",
            observer="agent",
        ),
        "incidents": Incident.objects.create(terminal=terminal, kind="terminal", opened_at=NOW, cause="Unseen."),
        "maintenance": Maintenance.objects.create(
            organization=tree["OSLO"], starts_at=NOW, ends_at=NOW + timedelta(hours=1), reason="New disks"
        ),
        "notice-channels": channel,
        "patches": patch,
        "roll-outs": create(patch, NOW),
        "notices": Notice.objects.get(),
        "notice-deliveries": Delivery.objects.get(),
    }
    return tree, objects
