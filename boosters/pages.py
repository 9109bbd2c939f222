"""The pages "Patches", of one patch, of one roll-out, and the version overview, inside the windows."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any, cast

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from accounts.models import User
from backoffice.refusals import Refusal
from backoffice.visibility import visible
from boosters import patches, rolling
from boosters.forms import RollOutForm, UploadForm
from boosters.patch_files import PIECE, vendor_keys
from boosters.patch_models import Patch, RollOut, RollOutState, Step, TargetState
from boosters.progress import progress_of
from boosters.version_overview import Comparison, overview
from servers.models import MobileServer

PER_PAGE = 25
Page = Callable[..., HttpResponse]


def _page(right: str) -> Callable[[Page], Page]:
    """Show a page inside the windows, to those with a right; nobody may keep it."""

    def shown(page: Page) -> Page:
        @wraps(page)
        def allowed(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            if not request.user.has_perm(right):
                raise PermissionDenied
            return page(request, *args, **kwargs)

        return admin.site.admin_view(never_cache(allowed))

    return shown


def _render(request: HttpRequest, template: str, title: str, status: int = 200, **context: Any) -> HttpResponse:
    request.current_app = admin.site.name
    everything = {**admin.site.each_context(request), "title": title, **context}
    return TemplateResponse(request, f"boosters/{template}.html", everything, status=status)


def _person(request: HttpRequest) -> User:
    return cast(User, request.user)


# --- Patches -------------------------------------------------------------------------------------


@_page("boosters.view_patch")
def patches_page(request: HttpRequest, refused: str = "") -> HttpResponse:
    """List the patches and the roll-outs, the latest first; take a patch's file."""
    rows = visible(Patch, request.user).select_related("uploaded_by", "uploaded_from").order_by("-uploaded_at", "-pk")
    roll_outs = visible(RollOut, request.user).select_related("patch", "created_by").order_by("-created_at", "-pk")
    return _render(
        request,
        "patches",
        "Patches",
        400 if refused else 200,
        page=Paginator(rows, PER_PAGE).get_page(request.GET.get("page")),
        roll_outs=Paginator(roll_outs, PER_PAGE).get_page(request.GET.get("roll_outs")),
        form=UploadForm(),
        refused=refused,
        vendors=sorted(vendor_keys()),
        may_upload=request.user.has_perm("boosters.add_patch"),
    )


@require_POST
@_page("boosters.add_patch")
def upload(request: HttpRequest) -> HttpResponse:
    """Take a patch's file; whatever is refused is said on the page and leaves nothing."""
    form = UploadForm(request.POST, request.FILES)
    if not form.is_valid():
        return patches_page(request, refused="Choose a patch file that is not empty.")
    file = form.cleaned_data["file"]
    pieces: Iterator[bytes] = file.chunks(PIECE)
    try:
        patch, is_new = patches.upload(pieces, timezone.now(), actor=_person(request), file_name=file.name)
    except Refusal as refusal:
        return patches_page(request, refused=refusal.detail)
    messages.success(request, f"{patch} is kept." if is_new else f"{patch} was kept already: nothing changed.")
    return HttpResponseRedirect(reverse("boosters:patch", args=[patch.pk]))


@_page("boosters.view_patch")
def patch_page(request: HttpRequest, pk: int) -> HttpResponse:
    """Show one patch and, to those who may, what rolls it out."""
    patch = get_object_or_404(visible(Patch, request.user).select_related("uploaded_by", "uploaded_from"), pk=pk)
    may_roll_out = request.user.has_perm("boosters.add_rollout")
    form = RollOutForm(request.POST if request.method == "POST" else None, user=request.user)
    refused = ""
    if request.method == "POST":
        if not may_roll_out:
            raise PermissionDenied
        if form.is_valid():
            try:
                row = rolling.create(
                    patch,
                    timezone.now(),
                    waves=form.waves(),
                    because=f"Begun by {request.user}.",
                    actor=_person(request),
                    only_in_maintenance=form.cleaned_data["only_in_maintenance"],
                    bytes_per_s=form.bytes_per_s,
                    begins_at=form.cleaned_data["begins_at"],
                )
                return HttpResponseRedirect(reverse("boosters:roll-out", args=[row.pk]))
            except Refusal as refusal:
                refused = refusal.detail
    return _render(
        request,
        "patch",
        str(patch),
        patch=patch,
        roll_outs=patch.roll_outs.select_related("created_by"),
        form=form,
        refused=refused,
        may_roll_out=may_roll_out,
        may_delete=request.user.has_perm("boosters.delete_patch") and not patch.roll_outs.exists(),
    )


@_page("boosters.delete_patch")
def delete_page(request: HttpRequest, pk: int) -> HttpResponse:
    """Delete a patch that no roll-out refers to, when that is confirmed."""
    patch = get_object_or_404(visible(Patch, request.user), pk=pk)
    if request.method != "POST":
        text = f"{patch} is deleted, with its file."
        return _render(request, "confirm", f"Delete {patch}", text=text, button="Delete", back=_of(patch))
    try:
        patches.delete(patch, timezone.now(), actor=_person(request))
    except Refusal as refusal:
        messages.error(request, refusal.detail)
        return HttpResponseRedirect(_of(patch))
    messages.success(request, f"{patch} was deleted.")
    return HttpResponseRedirect(reverse("boosters:patches"))


def _of(patch: Patch) -> str:
    return reverse("boosters:patch", args=[patch.pk])


# --- Roll-outs -----------------------------------------------------------------------------------


def _roll_out(request: HttpRequest, pk: int) -> RollOut:
    rows = visible(RollOut, request.user).select_related("patch", "created_by", "takes_back")
    return cast(RollOut, get_object_or_404(rows, pk=pk))


def _region(request: HttpRequest, row: RollOut) -> tuple[str, str]:
    """Return what the page shows of a roll-out as it is now, and its digest."""
    progress = progress_of(row, list(row.targets.all()))
    may_act = request.user.has_perm("boosters.change_rollout")
    is_over = row.state in (RollOutState.DONE, RollOutState.CANCELLED)
    has_done = any(name == TargetState.DONE.label for name, _, _ in progress.counts)
    acts = [
        ("pause", "Pause", may_act and row.state in (RollOutState.PLANNED, RollOutState.RUNNING)),
        ("resume", "Resume", may_act and row.state == RollOutState.PAUSED),
        ("cancel", "Cancel", may_act and not is_over),
        (
            "roll-back",
            "Roll back",
            may_act and is_over and has_done and row.step == Step.APPLY and bool(row.patch.revert),
        ),
    ]
    html = render_to_string(
        "boosters/progress.html",
        {
            "row": row,
            "progress": progress,
            "may_act": may_act,
            "acts": [(what, label, f"boosters:{what}") for what, label, is_offered in acts if is_offered],
        },
    )
    return html, hashlib.sha256(html.encode()).hexdigest()[:32]


@_page("boosters.view_rollout")
def roll_out_page(request: HttpRequest, pk: int) -> HttpResponse:
    """Show how a roll-out goes on; the page asks for what changed by itself."""
    row = _roll_out(request, pk)
    region, seen = _region(request, row)
    return _render(request, "roll_out", str(row), row=row, region=region, seen=seen)


@_page("boosters.view_rollout")
def roll_out_now(request: HttpRequest, pk: int) -> HttpResponse:
    """Answer the region of the page if it is not what `seen` names; else 204."""
    region, seen = _region(request, _roll_out(request, pk))
    if request.GET.get("seen") == seen:
        return HttpResponse(status=204)
    return HttpResponse(region, headers={"X-Seen": seen})


CONFIRMED: dict[str, tuple[str, str, Callable[..., RollOut]]] = {
    "pause": ("Pause", "No further server begins; those at work go on to their end.", rolling.pause),
    "resume": ("Resume", "The roll-out goes on. Servers that failed are tried once more.", rolling.resume),
    "cancel": (
        "Cancel the roll-out",
        "No further server begins, and downloads stop. A server that is being changed goes on to its end. "
        "A cancelled roll-out cannot be resumed.",
        rolling.cancel,
    ),
    "roll-back": (
        "Roll back",
        "The patch is taken back, by the script it brings, from every server that has it by this roll-out.",
        rolling.roll_back,
    ),
}


@_page("boosters.change_rollout")
def act_page(request: HttpRequest, pk: int, what: str) -> HttpResponse:
    """Ask whether it is meant, then do it."""
    row = _roll_out(request, pk)
    button, text, rule = CONFIRMED[what]
    back = reverse("boosters:roll-out", args=[row.pk])
    if request.method != "POST":
        return _render(request, "confirm", f"{button}: {row}", text=text, button=button, back=back)
    try:
        changed = rule(row.pk, timezone.now(), _person(request))
        return HttpResponseRedirect(reverse("boosters:roll-out", args=[changed.pk]))
    except Refusal as refusal:
        messages.error(request, refusal.detail)
        return HttpResponseRedirect(back)


@_page("boosters.change_rollout")
def skip_page(request: HttpRequest, pk: int, key: str) -> HttpResponse:
    """Ask whether one server is meant to be left out, then leave it out."""
    row = _roll_out(request, pk)
    back = reverse("boosters:roll-out", args=[row.pk])
    if request.method != "POST":
        text = f"{key} is left out of this roll-out and keeps the version it has. A roll-out paused for it goes on."
        return _render(request, "confirm", f"Skip {key}", text=text, button=f"Skip {key}", back=back)
    try:
        rolling.skip(row.pk, key, timezone.now(), _person(request))
    except Refusal as refusal:
        messages.error(request, refusal.detail)
    return HttpResponseRedirect(back)


# --- Versions ------------------------------------------------------------------------------------


@_page("servers.view_mobileserver")
def versions_page(request: HttpRequest) -> HttpResponse:
    """Show each server's version and modules beside central's."""
    servers = visible(MobileServer, request.user).filter(is_active=True)
    related = servers.select_related("client", "state", "report", "reported_version")
    lines = overview(related.order_by("client__code", "-server_type", "priority", "name", "key"))
    lines.sort(key=lambda line: (line.client, line.comparison is not Comparison.CENTRAL))
    counts = {value: sum(line.comparison is value for line in lines) for value in Comparison}
    return _render(request, "versions", "Versions", lines=lines, counts=counts)


urlpatterns = [
    path("patches/", patches_page, name="patches"),
    path("patches/upload/", upload, name="upload"),
    path("patches/<int:pk>/", patch_page, name="patch"),
    path("patches/<int:pk>/delete/", delete_page, name="delete"),
    path("patches/roll-outs/<int:pk>/", roll_out_page, name="roll-out"),
    path("patches/roll-outs/<int:pk>/now/", roll_out_now, name="roll-out-now"),
    path("patches/roll-outs/<int:pk>/skip/<str:key>/", skip_page, name="skip"),
    *(
        path(f"patches/roll-outs/<int:pk>/{what}/", act_page, {"what": what}, name=what)
        for what in ("pause", "resume", "cancel", "roll-back")
    ),
    path("versions/", versions_page, name="versions"),
]
