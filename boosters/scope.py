"""Who may see patches and roll-outs: they concern servers of every organization."""

from __future__ import annotations

from django.contrib.auth.models import AnonymousUser
from django.db.models import QuerySet

from accounts.models import User
from accounts.scope import is_limited
from boosters.patch_models import Patch, RollOut


def visible_patches(user: User | AnonymousUser) -> QuerySet[Patch]:
    """Return the patches for those who see everything."""
    return Patch.objects.none() if is_limited(user) else Patch.objects.all()


def visible_roll_outs(user: User | AnonymousUser) -> QuerySet[RollOut]:
    """Return the roll-outs for those who see everything."""
    return RollOut.objects.none() if is_limited(user) else RollOut.objects.all()
