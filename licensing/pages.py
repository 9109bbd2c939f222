"""The window "System settings", whose last block is "Booster authorization information"."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.views.decorators.cache import never_cache

from backoffice.look import file_input
from backoffice.refusals import Refusal
from licensing.files import LARGEST_FILE, License, vendor_keys
from licensing.installation import history, standing, upload
from licensing.rules import Limits, Usage, headline
from licensing.usage import present_usage


class UploadForm(forms.Form):
    """A chosen file, or after the preview its text."""

    file = forms.FileField(
        label="Licence file", required=False, allow_empty_file=True, widget=file_input(attrs={"accept": ".lic"})
    )
    text = forms.CharField(required=False, max_length=LARGEST_FILE)
    file_name = forms.CharField(required=False, max_length=LARGEST_FILE)
    confirm_older = forms.BooleanField(required=False)

    def content(self) -> tuple[bytes, str]:
        """Return the bytes and the name of the file; of one that is too large, only enough to see that it is."""
        given = self.cleaned_data
        if given.get("file") is not None:
            return given["file"].read(LARGEST_FILE + 1), given["file"].name
        return given.get("text", "").encode(), given.get("file_name", "")


@never_cache
def system_settings(request: HttpRequest) -> HttpResponse:
    """Show the installation and its licence; take a licence file, show what it changes, store it."""
    if not request.user.is_superuser:
        raise PermissionDenied
    told: dict[str, Any] = {}
    if request.method == "POST":
        is_confirmed = "confirmed" in request.POST
        form = UploadForm(request.POST, request.FILES)
        form.is_valid()
        content, file_name = form.content()
        try:
            change = upload(
                content,
                file_name=file_name,
                actor=request.user,
                confirm_older=bool(form.cleaned_data.get("confirm_older")),
                dry_run=not is_confirmed,
            )
        except Refusal as refusal:
            told["refused"] = refusal.detail
        else:
            if is_confirmed:
                messages.success(request, "The licence is stored.")
                return HttpResponseRedirect(reverse("licensing:system-settings"))
            told |= {"change": change, "text": content.decode(), "file_name": file_name}
            told["facts"] = facts_of(change.license)
    where = standing()
    request.current_app = admin.site.name
    context = {
        **admin.site.each_context(request),
        "title": "System settings",
        "version": settings.VERSION,
        "environment": settings.ENVIRONMENT,
        "where": where,
        "status": where.status,
        "headline": headline(where.status),
        "blocks": [
            (title, facts_of(stored))
            for title, stored in (("Licence", where.present), ("Next licence", where.upcoming))
            if isinstance(stored, License)
        ],
        "usage": usage_rows(where.status.limits, present_usage()),
        "history": history(),
        "form": UploadForm(),
        "vendor_keys": list(vendor_keys()),
        **told,
    }
    return TemplateResponse(request, "licensing/system_settings.html", context)


def facts_of(license_: License) -> list[tuple[str, str]]:
    """Return the content of a licence as labels and texts, what is unknown to this version last."""
    return [
        ("Customer", license_.customer),
        ("Type", license_.type),
        ("Mobile servers", _limit(license_.servers)),
        ("POS terminals", _limit(license_.terminals)),
        ("Features", ", ".join(license_.features) or "-"),
        ("Valid from", f"{license_.not_before:%Y-%m-%d %H:%M} UTC"),
        ("Expires", f"{license_.expires_at:%Y-%m-%d %H:%M} UTC" if license_.expires_at else "never"),
        ("Grace period", f"{license_.grace_days} days"),
        ("Installation", license_.installation or "any"),
        ("Licence number", license_.id),
        ("Issued", f"{license_.issued_at:%Y-%m-%d %H:%M} UTC"),
        ("Signed with", license_.key_id),
        *((name, str(value)) for name, value in license_.other.items()),
    ]


def usage_rows(limits: Limits, usage: Usage) -> list[tuple[str, int, str]]:
    """Return label, number present and limit of everything that is counted."""
    counted = (("Mobile servers", "servers"), ("Main servers", "main_servers"), ("Store servers", "store_servers"))
    return [
        (label, getattr(usage, name), _limit(getattr(limits, name)))
        for label, name in (*counted, ("POS terminals", "terminals"))
    ]


def _limit(limit: int | None) -> str:
    return "no limit" if limit is None else str(limit)


urlpatterns = [path("", admin.site.admin_view(system_settings), name="system-settings")]
