"""The product's three roles: which rights each has, and making them after every migrate."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.contrib.auth.models import Group, Permission

from accounts.scope import READ_ONLY, STORE_OPERATOR, SYSTEM_ADMINISTRATOR

ROOMS = (
    "accounts",
    "boosters",
    "events",
    "fleet",
    "notices",
    "organizations",
    "preferences",
    "routing",
    "servers",
    "services",
    "terminals",
)
EVERYWHERE = "accounts.see_all_organizations"
# Written by the product alone: whoever may see them may not change them.
RECORDS = (
    "activationcode",
    "agenttoken",
    "boosternode",
    "delivery",
    "deliveryattempt",
    "event",
    "failedactivation",
    "incident",
    "notice",
    "patchpart",
    "pulse",
    "reachability",
    "reportedversion",
    "revision",
    "rollouttarget",
    "serverreport",
    "serverstate",
    "statustransition",
    "terminalreport",
    "terminaltoken",
    "transitioncount",
)
OF_PEOPLE = ("user", "usertoken")

STORE_OPERATOR_RIGHTS = frozenset(
    {
        "organizations.view_organization",
        "organizations.change_organization",
        *(
            f"{room}.{action}_{model}"
            for action in ("view", "add", "change", "delete")
            for room, model in (("terminals", "terminal"), ("preferences", "preferencevalue"))
        ),
        "terminals.view_terminalreport",
        "services.view_module",
        "services.view_mobileservice",
        "servers.view_mobileserver",
        "servers.view_organizationbyserver",
        "servers.view_servicebyserver",
        "servers.view_serverstate",
        "servers.view_serverreport",
        "servers.view_statustransition",
        "fleet.view_incident",
        "fleet.view_reachability",
        "fleet.view_maintenance",
        "fleet.add_maintenance",
        "fleet.change_maintenance",
    }
)


def is_granted(role: str, right: str) -> bool:
    """Tell whether `role` has `right`, written `app.codename` as in `User.has_perm`.

    System administrators may do everything but rewrite records; read-only users see everything but
    people and their tokens; store operators have what their stores need (narrowed to their
    organizations by `accounts.scope`).
    """
    room, _, codename = right.partition(".")
    action, _, model = codename.partition("_")
    if role == STORE_OPERATOR:
        return right in STORE_OPERATOR_RIGHTS
    if room not in ROOMS:
        return False
    if right == EVERYWHERE:
        return True
    if role == SYSTEM_ADMINISTRATOR:
        return action == "view" or model not in RECORDS
    return action == "view" and model not in OF_PEOPLE


def make_roles(sender: Any, **kwargs: Any) -> None:
    """Make the three groups and give each exactly its rights; connected to post_migrate.

    Runs once per migrate, for the last application with models: by then every permission exists. Rights added
    to these groups by hand are taken back: other wishes deserve a group of their own.
    """
    if sender.name != [config.name for config in apps.get_app_configs() if config.models_module][-1]:
        return
    permissions = {
        f"{app_label}.{codename}": pk
        for pk, app_label, codename in Permission.objects.values_list("pk", "content_type__app_label", "codename")
    }
    for role in (SYSTEM_ADMINISTRATOR, STORE_OPERATOR, READ_ONLY):
        group, _ = Group.objects.get_or_create(name=role)
        group.permissions.set([pk for right, pk in permissions.items() if is_granted(role, right)])
