"""What every window says about the licence and the clock."""

from __future__ import annotations

from typing import Any

from django import template

from licensing.installation import standing
from licensing.rules import Banner, banner

register = template.Library()


@register.inclusion_tag("licensing/banner.html", takes_context=True)
def license_banner(context: dict[str, Any]) -> dict[str, Any]:
    request = context.get("request")
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return {"banners": []}
    where = standing()
    clock = where.clock_warning
    found = [banner(where.status, where.moment), Banner("warn", clock) if clock else None]
    return {"banners": [each for each in found if each], "may_open": user.is_superuser}
