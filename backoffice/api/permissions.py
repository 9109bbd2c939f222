"""What a caller of the sysadmin doors may do, by the rights of the person behind the credential."""

from typing import Any

from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from accounts.models import User
from backoffice.refusals import Forbidden, Unauthenticated


class ModelRights(BasePermission):
    """Let a user do what `needed_rights(method)` of the view names; which objects, its queryset decides."""

    def has_permission(self, request: Request, view: Any) -> bool:
        user = request.user
        if not isinstance(user, User):
            raise Unauthenticated("Send a user token: Authorization: Bearer bst_user_….")
        method = request.method or "GET"
        if getattr(view, method.lower(), None) is None:
            return True  # answered with 405
        missing = [right for right in view.needed_rights(method) if not user.has_perm(right)]
        if missing:
            raise Forbidden(f"The right {missing[0]} is missing.")
        return True
