"""The tree page: unfold what lies below, search, add, rename, switch off, move."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Count, Q
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse

from backoffice.look import REFUSALS, Window, is_id, organization_input, refusal_errors
from backoffice.visibility import is_limited, visible
from organizations.models import Organization, OrganizationKind
from organizations.tree import move_organization, update_organization

PAGE = 200
MOST_FOUND = 100


@dataclass
class Branch:
    """A node of the page, with those of its children that are shown already."""

    node: Organization
    children: list[Branch] = field(default_factory=list)
    is_open: bool = False
    next_offset: int | None = None


class MoveForm(forms.Form):
    parent = forms.ModelChoiceField(queryset=Organization.objects.none(), label="New parent")

    def __init__(self, *args: Any, user: Any, site: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        parent: Any = self.fields["parent"]
        parent.queryset = visible(Organization, user).exclude(kind=OrganizationKind.STORE)
        parent.widget = organization_input(site, Organization._meta.get_field("parent"))
        parent.widget.choices = parent.choices


class TreePage(Window):
    """The views of the tree page, for the organizations' window."""

    def has_move_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Moving re-routes terminals: only for those who build the whole tree."""
        return bool(self.may_reshape(request) and self.has_change_permission(request))

    def may_reshape(self, request: HttpRequest) -> bool:
        return bool(self.has_add_permission(request)) and not is_limited(request.user)

    def _nodes(self, request: HttpRequest) -> Any:
        return visible(Organization, request.user).annotate(child_count=Count("children")).order_by("name", "code")

    def _children(self, request: HttpRequest, parent: Organization, offset: int) -> tuple[list[Branch], int | None]:
        nodes = list(self._nodes(request).filter(parent=parent)[offset : offset + PAGE + 1])
        return [Branch(node) for node in nodes[:PAGE]], offset + PAGE if len(nodes) > PAGE else None

    def _roots(self, request: HttpRequest) -> list[Branch]:
        seen = visible(Organization, request.user)
        # For a limited user the topmost organizations he may see are the roots.
        return [Branch(node) for node in self._nodes(request).filter(Q(parent=None) | ~Q(parent__in=seen.order_by()))]

    def _opened(self, request: HttpRequest, roots: Iterable[Branch], at: Organization | None) -> None:
        """Open the way to `at`, or the only root."""
        roots = list(roots)
        way = set(at.lineage().values_list("pk", flat=True)) if at else set()
        if at is None and len(roots) == 1:
            way = {roots[0].node.pk}
        level = roots
        while level:
            branch = next((branch for branch in level if branch.node.pk in way), None)
            if branch is None:
                return
            branch.is_open = True
            branch.children, branch.next_offset = self._children(request, branch.node, 0)
            on_page = {child.node.pk for child in branch.children}
            for node in self._nodes(request).filter(parent=branch.node, pk__in=way - on_page):
                branch.children.append(Branch(node))  # beyond the first page, but on the way
            level = branch.children

    def tree_view(self, request: HttpRequest) -> HttpResponse:
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied
        at = self._organization(request, request.GET["at"]) if request.GET.get("at") else None
        query = _text(request.GET.get("q", "")).strip()
        context: dict[str, Any] = {"query": query, "at": at, "most_found": MOST_FOUND}
        if query:
            found = Q(code__icontains=query) | Q(name__icontains=query)
            context["found"] = list(self._nodes(request).filter(found).order_by("path")[:MOST_FOUND])
        else:
            roots = self._roots(request)
            self._opened(request, roots, at)
            context["branches"] = roots
        if at is not None:
            context |= {
                "may_change": self.has_change_permission(request, at),
                "may_add": self.has_add_permission(request) and at.kind != OrganizationKind.STORE,
                "may_move": self.has_move_permission(request) and at.kind != OrganizationKind.CLIENT,
                "may_delete": self.has_delete_permission(request, at),
            }
        context["may_add_client"] = self.has_add_permission(request) and not is_limited(request.user)
        return self.render_page(request, "organizations/tree.html", "Organization tree", **context)

    def children_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """Answer with the list items of one organization's children, for the page to put in place."""
        parent = self._organization(request, str(object_id))
        offset = int(text) if is_id(text := request.GET.get("offset", "0")) else 0
        branches, next_offset = self._children(request, parent, offset)
        return TemplateResponse(
            request,
            "organizations/branches.html",
            {"branches": branches, "next_offset": next_offset, "parent": parent},
        )

    def quick_change_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """Rename an organization, or switch it on or off."""
        organization = self.visible_object(request, str(object_id), change=True)
        if request.method == "POST":
            active = request.POST.get("is_active")
            try:
                update_organization(
                    organization.pk,
                    name=_text(request.POST["name"]).strip() if "name" in request.POST else None,
                    is_active=None if active is None else active == "yes",
                )
            except REFUSALS as refusal:
                for _, message in refusal_errors(refusal):
                    messages.error(request, message)
            else:
                messages.success(request, "Saved.")
        return HttpResponseRedirect(f"{self.window_url('tree')}?at={organization.pk}")

    def move_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask for the new parent, name what the move re-routes, and move once that is confirmed."""
        organization = self.visible_object(request, object_id, change=True)
        form = MoveForm(
            request.POST or None,
            user=request.user,
            site=self.admin_site,
            initial={"parent": organization.parent_id},
        )
        context: dict[str, Any] = {"form": form, "organization": organization, "original": organization}
        if request.method == "POST" and form.is_valid():
            parent = form.cleaned_data["parent"]
            try:
                if "confirmed" in request.POST:
                    move_organization(organization.pk, parent.pk)
                    messages.success(request, f"{organization.name} lies below {parent} now.")
                    return HttpResponseRedirect(f"{self.window_url('tree')}?at={organization.pk}")
                try_move(organization.pk, parent.pk)
            except REFUSALS as refusal:
                for _, message in refusal_errors(refusal):
                    form.add_error("parent", message)
            else:
                context["parent"] = parent
        return self.render_page(request, "organizations/move.html", f"Move {organization.name}", **context)

    def _organization(self, request: HttpRequest, object_id: str) -> Organization:
        if not object_id.isdecimal():
            raise Http404
        return self.visible_object(request, object_id)  # type: ignore[no-any-return]


def _text(value: str) -> str:
    """Drop what no text column can hold (forms do the same for their fields)."""
    return value.replace("\0", "")


def try_move(organization_id: int, parent_id: int) -> None:
    """Raise what `move_organization` would refuse; moves nothing."""
    with transaction.atomic():
        move_organization(organization_id, parent_id)
        transaction.set_rollback(True)
