"""The windows "Organizations" and "Organization tree"."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.http import urlencode

from backoffice.look import CsvWindow, OrganizationFilter, action
from backoffice.visibility import is_limited
from organizations.models import Organization, OrganizationKind
from organizations.rows import OrganizationRows
from organizations.tree import create_organization, delete_organization, update_organization
from organizations.tree_page import TreePage


@admin.register(Organization)
class OrganizationWindow(TreePage, CsvWindow):
    resource_classes: ClassVar[list[Any]] = [OrganizationRows]
    list_display = ("path", "code", "kind", "is_active")
    list_filter = ("kind", "is_active", ("parent", OrganizationFilter))
    search_fields = ("code", "name", "path")
    search_help_text = "Search by code, name or path"
    ordering = ("path", "code")
    autocomplete_fields = ("parent",)
    fields = ("code", "name", "kind", "parent", "is_active")
    actions_list = ("open_tree",)
    actions_detail = ("fleet_status", "show_in_tree", "move")

    def get_readonly_fields(self, request: HttpRequest, obj: Organization | None = None) -> tuple[str, ...]:
        if obj is None:
            return ()
        # Who has only a part of the tree may rename and deactivate; the code is what other systems know it by.
        code = () if self.may_reshape(request) else ("code",)
        return (*code, "kind", "parent")

    def save_model(self, request: HttpRequest, obj: Organization, form: Any, change: bool) -> None:
        if change:
            update_organization(obj.pk, code=obj.code, name=obj.name, is_active=obj.is_active)
            return
        made = create_organization(
            code=obj.code, name=obj.name, kind=obj.kind, parent_id=obj.parent_id, is_active=obj.is_active
        )
        obj.pk, obj.path = made.pk, made.path

    def delete_model(self, request: HttpRequest, obj: Organization) -> None:
        delete_organization(obj.pk)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Organization]) -> None:
        # From below: a parent can go once its children have.
        for organization in queryset.order_by("-level"):
            delete_organization(organization.pk)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        if "parent" in form.base_fields and is_limited(request.user):
            form.base_fields["parent"].required = True  # without one it would be a client of its own
        return form

    @action(description="Tree", icon="account_tree", permissions=["view"])
    def open_tree(self, request: HttpRequest) -> HttpResponse:
        return HttpResponseRedirect(self.window_url("tree"))

    @action(description="Show in tree", icon="account_tree", permissions=["view"])
    def show_in_tree(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return HttpResponseRedirect(f"{self.window_url('tree')}?at={object_id}")

    @action(description="Status", icon="monitor_heart", permissions=["look_at_fleet"])
    def fleet_status(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Lead to the store's page, or to the stores below on the fleet's."""
        organization = self.visible_object(request, object_id)
        if organization.kind == OrganizationKind.STORE:
            return HttpResponseRedirect(reverse("fleet:store", args=[organization.code]))
        return HttpResponseRedirect(f"{reverse('fleet:fleet')}?{urlencode({'q': organization.name})}")

    @action(description="Move", icon="drive_file_move", permissions=["move"])
    def move(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self.move_view(request, object_id)

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        return [
            path("tree/", wrap(self.tree_view), name="organizations_organization_tree"),
            path(
                "tree/<int:object_id>/children/", wrap(self.children_view), name="organizations_organization_children"
            ),
            path(
                "tree/<int:object_id>/change/",
                wrap(self.quick_change_view),
                name="organizations_organization_quick_change",
            ),
            *super().get_urls(),
        ]
