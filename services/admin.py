"""The windows "Mobile services" and "Modules"."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path

from backoffice.look import REFUSALS, Window, action, display, file_input, refusal_errors
from services.manifest import install_manifest
from services.models import MobileService, Module
from services.reference import delete_service, save_module, save_service

LARGEST_MANIFEST = 1024 * 1024


@admin.register(MobileService)
class MobileServiceWindow(Window):
    list_display = ("name", "module", "routing_type", "is_transactional", "effective_timeout", "is_active")
    list_filter = ("is_active", "routing_type", "is_transactional", "module")
    list_select_related = ("module",)
    search_fields = ("name", "description", "module__name")
    search_help_text = "Search by name, description or module"
    fields = (
        "name",
        "module",
        "description",
        "routing_type",
        "is_transactional",
        "default_timeout_s",
        "timeout_s",
        "is_active",
    )
    reference_fields = ("name", "module", "description", "routing_type", "is_transactional", "default_timeout_s")

    @display(description="Timeout (s)")
    def effective_timeout(self, service: MobileService) -> int | None:
        return service.effective_timeout_s

    def get_readonly_fields(self, request: HttpRequest, obj: MobileService | None = None) -> tuple[str, ...]:
        return () if obj is None or obj.module.in_development else self.reference_fields

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "module":
            kwargs["queryset"] = Module.objects.filter(in_development=True)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return bool(super().has_add_permission(request) and Module.objects.filter(in_development=True).exists())

    def save_model(self, request: HttpRequest, obj: MobileService, form: Any, change: bool) -> None:
        save_service(obj)

    def delete_model(self, request: HttpRequest, obj: MobileService) -> None:
        delete_service(obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[MobileService]) -> None:
        for service in queryset.select_related("module"):
            delete_service(service)


class ManifestForm(forms.Form):
    file = forms.FileField(
        label="Manifest", widget=file_input, required=False, help_text="A JSON file that lists a module's services."
    )
    text = forms.CharField(widget=forms.HiddenInput, required=False)

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or {}
        file = data.get("file")
        if file is None and not data.get("text"):
            raise forms.ValidationError("Choose the manifest of a module.")
        if file is not None:
            if file.size > LARGEST_MANIFEST:
                raise forms.ValidationError("A manifest is at most 1 MiB.")
            try:
                data["text"] = file.read().decode("utf-8-sig")
            except UnicodeDecodeError as error:
                raise forms.ValidationError("A manifest is UTF-8 text.") from error
        return data


@admin.register(Module)
class ModuleWindow(Window):
    list_display = ("name", "version", "description", "service_count", "in_development")
    list_filter = ("in_development",)
    search_fields = ("name", "description")
    fields = ("name", "version", "description", "in_development")
    actions_list: ClassVar[tuple[str, ...]] = ("install",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Module]:
        return super().get_queryset(request).annotate(service_count=Count("services"))  # type: ignore[no-any-return]

    @display(description="Services", ordering="service_count")
    def service_count(self, module: Any) -> int:
        return int(module.service_count)

    def get_readonly_fields(self, request: HttpRequest, obj: Module | None = None) -> tuple[str, ...]:
        # Name, version and description come with the manifest, unless the module is made here.
        return () if obj is None or obj.in_development else ("name", "version", "description")

    def save_model(self, request: HttpRequest, obj: Module, form: Any, change: bool) -> None:
        save_module(obj)

    def has_install_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(self.has_add_permission(request) and self.has_change_permission(request))

    @action(description="Install from manifest", icon="upload_file", permissions=["install"])
    def install(self, request: HttpRequest) -> HttpResponse:
        return HttpResponseRedirect(self.window_url("manifest"))

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.manifest_view)
        return [path("manifest/", view, name="services_module_manifest"), *super().get_urls()]

    def manifest_view(self, request: HttpRequest) -> HttpResponse:
        """Say what a manifest would change, and install it once that is confirmed."""
        if not self.has_install_permission(request):
            raise PermissionDenied
        form = ManifestForm(request.POST or None, request.FILES or None)
        context: dict[str, Any] = {"form": form}
        if request.method == "POST" and form.is_valid():
            text = form.cleaned_data["text"]
            confirmed = "confirmed" in request.POST
            try:
                result = install_manifest(text, actor=request.user, dry_run=not confirmed)
            except REFUSALS as refusal:
                context["refused"] = [
                    f"{error.pointer}: {error.detail}" if error.pointer else error.detail
                    for error in getattr(refusal, "errors", ())
                ] or [message for _, message in refusal_errors(refusal)]
            else:
                if confirmed:
                    for line in result.lines:
                        messages.success(request, line)
                    return HttpResponseRedirect(self.window_url("changelist"))
                context |= {"lines": result.lines, "text": text, "is_unchanged": result.is_unchanged}
        return self.render_page(request, "services/manifest.html", "Install from manifest", **context)
