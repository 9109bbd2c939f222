"""The sidebar: the windows in the field's words, as far as the user may open them."""

from typing import Any

from django.http import HttpRequest
from django.urls import reverse

# Superusers pass every question for a right; nobody else can be given this one.
SUPERUSER = "superuser"
# Title, icon, view, and the right it takes ("" for everyone).
Item = tuple[str, str, str, str]
GROUPS: tuple[tuple[str, tuple[Item, ...]], ...] = (
    ("", (("Dashboard", "dashboard", "admin:index", ""),)),
    (
        "Fleet",
        (
            ("Fleet", "monitor_heart", "fleet:fleet", "servers.view_mobileserver"),
            ("Patches", "system_update_alt", "boosters:patches", "boosters.view_patch"),
            ("Versions", "difference", "boosters:versions", "servers.view_mobileserver"),
            ("Incidents", "crisis_alert", "admin:fleet_incident_changelist", "fleet.view_incident"),
            ("Maintenance", "construction", "admin:fleet_maintenance_changelist", "fleet.view_maintenance"),
            (
                "Status transitions",
                "swap_vert",
                "admin:servers_statustransition_changelist",
                "servers.view_statustransition",
            ),
        ),
    ),
    (
        "Organizations",
        (
            (
                "Organization tree",
                "account_tree",
                "admin:organizations_organization_tree",
                "organizations.view_organization",
            ),
            (
                "Organizations",
                "storefront",
                "admin:organizations_organization_changelist",
                "organizations.view_organization",
            ),
            (
                "POS terminals",
                "point_of_sale",
                "admin:terminals_terminal_changelist",
                "terminals.view_terminal",
            ),
        ),
    ),
    (
        "Multi-server",
        (
            ("Mobile servers", "dns", "admin:servers_mobileserver_changelist", "servers.view_mobileserver"),
            (
                "Mobile services",
                "lan",
                "admin:services_mobileservice_changelist",
                "services.view_mobileservice",
            ),
            ("Modules", "extension", "admin:services_module_changelist", "services.view_module"),
            (
                "Preferences",
                "tune",
                "admin:preferences_preferencevalue_changelist",
                "preferences.view_preferencevalue",
            ),
            ("Explain a request", "alt_route", "routing:explain", "servers.view_mobileserver"),
            ("Checks", "rule", "routing:checks", "servers.view_mobileserver"),
        ),
    ),
    (
        "Administration",
        (
            ("Users", "group", "admin:accounts_user_changelist", "accounts.view_user"),
            ("User tokens", "key", "admin:accounts_usertoken_changelist", "accounts.view_usertoken"),
            (
                "Notice channels",
                "notifications_active",
                "admin:notices_channel_changelist",
                "notices.view_channel",
            ),
            ("Notices", "mail", "admin:notices_notice_changelist", "notices.view_notice"),
            ("Event log", "history", "admin:events_event_changelist", "events.view_event"),
            ("Booster nodes", "hub", "pair:nodes", "boosters.view_boosternode"),
            ("System settings", "settings", "licensing:system-settings", SUPERUSER),
        ),
    ),
)


def navigation(request: HttpRequest) -> list[dict[str, Any]]:
    """Return the sidebar's groups for django-unfold, without what the user may not open."""
    groups: list[dict[str, Any]] = []
    for title, items in GROUPS:
        shown = [
            {"title": name, "icon": icon, "link": reverse(view)}
            for name, icon, view, right in items
            if not right or request.user.has_perm(right)
        ]
        if shown:
            groups.append({"title": title, "items": shown, "separator": bool(title)})
    longest = max(
        (item["link"] for group in groups for item in group["items"] if request.path.startswith(item["link"])),
        key=len,
        default="",
    )
    for group in groups:
        for item in group["items"]:
            item["active"] = item["link"] == longest
    return groups
