"""The windows "Users" and "User tokens"."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import Group
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from accounts.models import User, UserToken
from accounts.scope import is_limited
from accounts.tokens import create_user_token, revoke_user_token
from backoffice.look import (
    AdminPasswordChangeForm,
    UserChangeForm,
    UserCreationForm,
    Window,
    action,
    check_boxes,
    display,
)

admin.site.unregister(Group)


@admin.register(User)
class UserWindow(Window, UserAdmin):  # type: ignore[misc,type-arg]
    """People. Only a superuser makes or changes superusers; a limited user administers nobody."""

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "first_name", "last_name", "role", "is_active", "last_login")
    list_filter = ("is_active", "is_superuser", "groups")
    search_fields = ("username", "first_name", "last_name", "email")
    ordering = ("username",)
    filter_horizontal = ()
    autocomplete_fields = ("organizations",)
    readonly_fields = ("last_login", "date_joined")
    fieldsets = (
        (None, {"fields": ("username", "password", ("first_name", "last_name"), "email")}),
        ("What the user may do", {"fields": ("is_active", "is_staff", "is_superuser", "groups", "organizations")}),
        ("Log in", {"fields": ("must_change_password", ("last_login", "date_joined"))}),
    )
    add_fieldsets = (
        (None, {"fields": ("username", "usable_password", "password1", "password2", "must_change_password")}),
        ("What the user may do", {"fields": ("is_staff", "groups", "organizations")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        return super().get_queryset(request).prefetch_related("groups")

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        return {"is_staff": True, "must_change_password": True, **super().get_changeform_initial_data(request)}

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "groups":
            kwargs |= {"widget": check_boxes, "help_text": "What the user may do."}
        field = super().formfield_for_manytomany(db_field, request, **kwargs)
        if field is not None and db_field.name == "groups":
            field.label = "Roles"
        return field

    @display(description="Role")
    def role(self, user: User) -> str:
        names = [group.name for group in user.groups.all()]
        return ", ".join((["Superuser"] if user.is_superuser else []) + names)

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> tuple[str, ...]:
        fields = self.readonly_fields
        return fields if request.user.is_superuser else (*fields, "is_superuser")

    def _may(self, request: HttpRequest, obj: User | None, allowed: bool) -> bool:
        if is_limited(request.user):
            return False
        return allowed and (request.user.is_superuser or obj is None or not obj.is_superuser)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return not is_limited(request.user) and bool(super().has_view_permission(request, obj))

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self._may(request, None, super().has_add_permission(request))

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._may(request, obj, super().has_change_permission(request, obj))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._may(request, obj, super().has_delete_permission(request, obj))


@admin.register(UserToken)
class UserTokenWindow(Window):
    """Tokens are made and revoked, never changed; everybody makes his own, administrators those of others."""

    list_display = ("name_or_id", "user", "is_read_only", "created_at", "expires_at", "last_used_at", "revoked_at")
    list_filter = ("is_read_only",)
    list_select_related = ("user",)
    search_fields = ("name", "token_id", "user__username")
    autocomplete_fields = ("user",)
    actions_detail = ("revoke",)

    @display(description="Token", ordering="name")
    def name_or_id(self, token: UserToken) -> str:
        return token.name or str(token)

    def get_fields(self, request: HttpRequest, obj: UserToken | None = None) -> tuple[str, ...]:
        made = ("user", "name", "is_read_only", "expires_at")
        return made if obj is None else ("token_id", *made, "created_at", "last_used_at", "revoked_at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[UserToken]:
        tokens: QuerySet[UserToken] = super().get_queryset(request)
        return tokens.filter(user__in=self._people(request))

    def _people(self, request: HttpRequest) -> QuerySet[User]:
        """Return those whose tokens the user may handle: everyone's for superusers, never a superuser's for others."""
        if request.user.is_superuser:
            return User.objects.all()
        own = User.objects.filter(username=request.user.get_username())
        if is_limited(request.user) or not request.user.has_perm("accounts.change_user"):
            return own
        return User.objects.filter(is_superuser=False)

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "user":
            kwargs |= {"queryset": self._people(request), "initial": request.user.pk}
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_revoke_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(super().has_delete_permission(request))

    def save_model(self, request: HttpRequest, obj: UserToken, form: Any, change: bool) -> None:
        made, credential = create_user_token(
            obj.user, name=obj.name, is_read_only=obj.is_read_only, expires_at=obj.expires_at
        )
        obj.pk = made.pk
        request.credential = credential  # type: ignore[attr-defined] # shown by the answer, and nowhere else

    def response_add(self, request: HttpRequest, obj: UserToken, post_url_continue: Any = None) -> HttpResponse:
        answer = self.render_page(
            request,
            "accounts/token.html",
            "User token",
            token=obj,
            text=request.credential.text,  # type: ignore[attr-defined]
        )
        answer["Cache-Control"] = "no-store"
        return answer

    @action(description="Revoke", icon="block", permissions=["revoke"])
    def revoke(self, request: HttpRequest, object_id: str) -> HttpResponse:
        token = self.visible_object(request, object_id)
        if request.method == "POST":
            revoke_user_token(token, timezone.now())
            self.message_user(request, f"{token} is revoked.")
            from django.http import HttpResponseRedirect

            return HttpResponseRedirect(self.window_url("changelist"))
        return self.render_page(request, "accounts/revoke.html", "Revoke token", token=token, original=token)
