"""Who sees which deliveries, and whose eyes a channel's address is for."""

from __future__ import annotations

from django.contrib.auth.models import AnonymousUser
from django.db.models import QuerySet

from accounts.models import User
from accounts.scope import is_limited, visible_organizations
from notices.models import Delivery


def visible_deliveries(user: User | AnonymousUser) -> QuerySet[Delivery]:
    """Return the deliveries through the channels the user may see, of the notices he may see."""
    if not is_limited(user):
        return Delivery.objects.all()
    organizations = visible_organizations(user)
    return Delivery.objects.filter(channel__organization__in=organizations, notice__organization__in=organizations)


def may_see_url(user: User | AnonymousUser) -> bool:
    """Tell whether `user` may see the whole address of a webhook, which can hold a token: who may change it."""
    return user.has_perm("notices.change_channel")
