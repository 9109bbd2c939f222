"""What people fill in to upload a patch and to roll one out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms

from backoffice.look import check_boxes, file_input, select_input, text_input
from backoffice.visibility import visible
from boosters.patch_files import SUFFIX
from boosters.rolling import Wave, default_rate
from organizations.models import Organization
from servers.models import MobileServer

WAVES = 4
"""How many waves the window offers before the one of all others; the API takes more."""
FASTEST = 2**31 - 1


class UploadForm(forms.Form):
    file = forms.FileField(label="Patch file", widget=file_input(attrs={"accept": SUFFIX}))


class RollOutForm(forms.Form):
    """Waves, each an organization, some servers, or both; then, if wanted, all others."""

    everybody = forms.BooleanField(
        required=False, initial=True, label="At last, all other servers", help_text="In a wave of their own."
    )
    only_in_maintenance = forms.BooleanField(
        required=False,
        label="Only in maintenance windows",
        help_text="A server begins only while maintenance is planned for it.",
    )
    kilobytes_per_s = forms.IntegerField(
        required=False,
        min_value=0,
        max_value=FASTEST // 1000,
        label="Download rate (kB/s) for each server",
        help_text="0: as fast as it can.",
        widget=text_input(attrs={"inputmode": "numeric"}),
    )
    begins_at = forms.DateTimeField(
        required=False, label="Begin (UTC)", help_text="Such as 2026-12-01 02:00. Empty: now.", widget=text_input()
    )

    def __init__(self, *args: Any, user: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["kilobytes_per_s"].initial = (default_rate() or 0) // 1000
        servers = visible(MobileServer, user).filter(is_active=True).order_by("name")
        organizations = visible(Organization, user).order_by("path")
        for number in range(1, WAVES + 1):
            self.fields[f"organization_{number}"] = forms.ModelChoiceField(
                organizations, required=False, label=f"Wave {number}: servers of", widget=select_input()
            )
            self.fields[f"servers_{number}"] = forms.ModelMultipleChoiceField(
                servers, required=False, label="and these servers", widget=check_boxes()
            )

    @property
    def wave_fields(self) -> list[tuple[int, Any, Any]]:
        return [(number, self[f"organization_{number}"], self[f"servers_{number}"]) for number in range(1, WAVES + 1)]

    def clean(self) -> dict[str, Any]:
        given: dict[str, Any] = super().clean() or self.cleaned_data
        if not self.errors and not self.waves():
            self.add_error(None, "Choose at least one organization or server, or all other servers.")
        return given

    def waves(self) -> Sequence[Wave]:
        """Return the waves that were filled in, first to last."""
        given = self.cleaned_data
        found = []
        for number in range(1, WAVES + 1):
            organization, servers = given.get(f"organization_{number}"), list(given.get(f"servers_{number}") or ())
            if organization is None and not servers:
                continue
            names = [str(organization)] if organization is not None else []
            title = ", ".join([*names, *(server.name for server in servers)])
            found.append(
                Wave(
                    title[:60],
                    tuple(server.pk for server in servers),
                    () if organization is None else (organization.pk,),
                )
            )
        if given.get("everybody"):
            found.append(Wave("All other servers" if found else "All servers", everybody=True))
        return found

    @property
    def bytes_per_s(self) -> int | None:
        rate = self.cleaned_data.get("kilobytes_per_s")
        return None if rate is None else rate * 1000
