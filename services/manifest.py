"""Installing a module's mobile services from a manifest file.

A manifest is JSON: `{"format": 1, "module": {"name", "version", "description"}, "services": [{"name",
"description", "routing_type", "is_transactional", "default_timeout_s"}]}`. Descriptions may be left out,
`is_transactional` then is false and `default_timeout_s` null. The standard ones lie in `manifests/`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import IntegrityError, transaction
from django.db.models import ProtectedError
from django.utils import timezone

from backoffice.refusals import Conflict, FieldError, Invalid
from events.log import record
from services.models import LONGEST_TIMEOUT_S, NAME_VALIDATOR, VERSION_VALIDATOR, MobileService, Module, RoutingType

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser

    from accounts.models import User

FORMAT = 1
LONGEST_TEXT = 255
LONGEST_VERSION = 40
STANDARD_MANIFESTS = Path(__file__).parent / "manifests"
_REFERENCE_FIELDS = ("description", "routing_type", "is_transactional", "default_timeout_s")
_ABSENT = object()
_NO_MEMBERS: Mapping[str, Any] = MappingProxyType({})  # of what is no object, which was said already


class ManifestInvalid(Invalid):
    type = "/problems/manifest-invalid"
    title = "The manifest is not valid"


class ManifestConflict(Conflict):
    type = "/problems/manifest-conflict"
    title = "The manifest does not fit what is installed"


@dataclass(frozen=True, slots=True)
class ServiceEntry:
    name: str
    description: str
    routing_type: str
    is_transactional: bool
    default_timeout_s: int | None


@dataclass(frozen=True, slots=True)
class Manifest:
    name: str
    version: str
    description: str
    services: tuple[ServiceEntry, ...]


@dataclass(slots=True)
class ManifestResult:
    """What an installation did, or with `dry_run` would do; the lists name services.

    `updated` maps a service to its changes in words. `withdrawn` are services that left the module
    and stay, inactive, because servers name them. `previous_version` is None for a new module.
    """

    module: str
    version: str
    previous_version: str | None
    created: list[str] = field(default_factory=list)
    updated: dict[str, str] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)
    withdrawn: list[str] = field(default_factory=list)
    inactive: list[str] = field(default_factory=list)
    differs: bool = False

    @property
    def is_unchanged(self) -> bool:
        return self.version == self.previous_version

    @property
    def lines(self) -> list[str]:
        """Return the result for people, one fact per line."""
        if self.is_unchanged:
            lines = [f"{self.module} {self.version} is already installed; nothing was changed."]
            if self.differs:
                lines.append("This manifest differs from what is installed: give it a higher version to install it.")
            return lines
        if self.previous_version is None:
            plural = "" if len(self.created) == 1 else "s"
            return [f"{self.module} {self.version}: new, with {len(self.created)} service{plural}."]
        return [
            f"{self.module}: {self.previous_version} → {self.version}.",
            *(f"{name}: new." for name in self.created),
            *(f"{name}: {changes}." for name, changes in self.updated.items()),
            *(f"{name}: deleted, it is no longer part of the module." for name in self.deleted),
            *(f"{name}: deactivated, it is no longer part of the module but still used." for name in self.withdrawn),
            *(f"{name}: stays inactive." for name in self.inactive),
        ]


def standard_manifests() -> list[Path]:
    """Return the manifests that ship with the product."""
    return sorted(STANDARD_MANIFESTS.glob("*.json"))


def parse_manifest(data: bytes | str | Mapping[str, Any]) -> Manifest:
    """Return the manifest that `data` spells; ManifestInvalid naming every error when it is none."""
    reader = _Reader()
    manifest = reader.manifest(data if isinstance(data, Mapping) else _decode(data))
    if reader.errors:
        raise ManifestInvalid(
            f"The manifest has {len(reader.errors)} error{'s' if len(reader.errors) > 1 else ''}.", errors=reader.errors
        )
    return manifest


def install_manifest(
    data: bytes | str | Mapping[str, Any],
    *,
    actor: User | AnonymousUser | None = None,
    dry_run: bool = False,
) -> ManifestResult:
    """Install or update a module in one transaction, and say what that changed.

    A newer version makes the module's services what the manifest says; timeouts and active flags
    that administrators set stay. Services that left the module are deleted, or deactivated where
    servers name them. The same version changes nothing.

    Raises ManifestInvalid naming every error; ManifestConflict for an older version than the
    installed one and for services of other modules.
    """
    manifest = parse_manifest(data)
    try:
        with transaction.atomic():
            result = _install(manifest)
            if dry_run:
                transaction.set_rollback(True)
            elif not result.is_unchanged:
                record(
                    "module-installed",
                    moment=timezone.now(),
                    object_type="module",
                    object_key=result.module,
                    actor=actor,
                    version=result.version,
                    previous_version=result.previous_version,
                    created=len(result.created),
                    updated=sorted(result.updated),
                    deleted=result.deleted,
                    withdrawn=result.withdrawn,
                )
            return result
    except IntegrityError as error:
        raise ManifestConflict("The services were changed by somebody else meanwhile; try again.") from error


def version_order(version: str) -> tuple[Any, ...]:
    """Return a key that orders versions: by their numbers, then by suffix.

    `1.2` equals `1.2.0`. A suffix after a letter or `-` marks something before the plain version
    (`1.2-rc1`), one after `+` or `.` something after it; numbers in suffixes count as numbers.
    """
    matched = re.match(r"(\d+(?:\.\d+){0,3})(.*)", version)
    numbers, suffix = matched.groups() if matched else ("0", version)
    parts = [int(number) for number in numbers.split(".")]
    place = 0 if not suffix else 1 if suffix[0] in "+." else -1
    chunks = [(1, int(chunk), "") if chunk.isdecimal() else (0, 0, chunk) for chunk in re.findall(r"\d+|\D+", suffix)]
    return (*parts, *[0] * (4 - len(parts)), place, chunks)


def _install(manifest: Manifest) -> ManifestResult:
    module = Module.objects.select_for_update().filter(name=manifest.name).first()
    result = ManifestResult(manifest.name, manifest.version, module.version if module else None)
    _refuse_services_of_others(manifest)
    present = {service.name: service for service in module.services.all()} if module else {}
    if module is None:
        module = Module(name=manifest.name)
    elif version_order(manifest.version) == version_order(module.version):
        result.version = module.version
        result.differs = {entry.name: _reference(entry) for entry in manifest.services} != {
            name: _reference(service) for name, service in present.items()
        }
        return result
    elif version_order(manifest.version) < version_order(module.version):
        message = f"{module.name} {module.version} is installed, which is newer than {manifest.version}."
        raise ManifestConflict(message, errors=[FieldError("/module/version", "older", message)])
    module.version = manifest.version
    module.description = manifest.description
    module.save()
    for entry in manifest.services:
        _apply(entry, present.pop(entry.name, None), module, result)
    for service in present.values():
        _withdraw(service, result)
    return result


def _refuse_services_of_others(manifest: Manifest) -> None:
    pointers = {entry.name: f"/services/{index}/name" for index, entry in enumerate(manifest.services)}
    errors = [
        FieldError(pointers[name], "other_module", f"{name} belongs to the module {module}.")
        for name, module in MobileService.objects.filter(name__in=pointers)
        .exclude(module__name=manifest.name)
        .order_by("name")
        .values_list("name", "module__name")
    ]
    if errors:
        raise ManifestConflict("The manifest names services of other modules.", errors=errors)


def _apply(entry: ServiceEntry, service: MobileService | None, module: Module, result: ManifestResult) -> None:
    if service is None:
        MobileService.objects.create(module=module, name=entry.name, **_reference(entry))
        result.created.append(entry.name)
        return
    changes = {
        name: (getattr(service, name), value)
        for name, value in _reference(entry).items()
        if getattr(service, name) != value
    }
    if changes:
        for name, (_, value) in changes.items():
            setattr(service, name, value)
        service.save(update_fields=list(changes))
        result.updated[entry.name] = "; ".join(_in_words(name, *pair) for name, pair in changes.items())
    if not service.is_active:
        result.inactive.append(entry.name)


def _withdraw(service: MobileService, result: ManifestResult) -> None:
    """Delete a service that left its module, or deactivate it while servers name it."""
    try:
        with transaction.atomic():
            service.delete()
        result.deleted.append(service.name)
    except ProtectedError:
        service.is_active = False
        service.save(update_fields=["is_active"])
        result.withdrawn.append(service.name)


def _reference(source: ServiceEntry | MobileService) -> dict[str, Any]:
    """Return what the module alone decides about a service."""
    return {name: getattr(source, name) for name in _REFERENCE_FIELDS}


def _in_words(name: str, old: Any, new: Any) -> str:
    if name == "description":
        return "description changed"
    label = str(MobileService._meta.get_field(name).verbose_name)  # type: ignore[union-attr]
    return f"{label} {_spelled(old)} → {_spelled(new)}"


def _spelled(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return RoutingType(value).label.lower()
    return "none" if value is None else str(value)


def _decode(data: bytes | str) -> Any:
    try:
        text = data.decode("utf-8-sig") if isinstance(data, bytes) else data
        return json.loads(text, object_pairs_hook=_object, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ManifestInvalid(
            "The manifest is not JSON.", errors=[FieldError("", "not_json", f"This is not JSON in UTF-8: {reason}.")]
        ) from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the member {next(name for name in names if names.count(name) > 1)!r} is there twice")
    return members


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON value")


class _Reader:
    """Reads the members of a manifest and collects what is wrong with them."""

    def __init__(self) -> None:
        self.errors: list[FieldError] = []

    def manifest(self, data: Any) -> Manifest:
        top = self.members(data, "", ("format", "module", "services"))
        if top is _NO_MEMBERS:
            return Manifest("", "", "", ())
        if top.get("format") != FORMAT or isinstance(top["format"], bool):
            self.wrong("/format", "unknown_format", f"This member is required; only format {FORMAT} is known.")
        module = self.members(top.get("module", _ABSENT), "/module", ("name", "version", "description"))
        return Manifest(
            name=self.text(module, "name", "/module", LONGEST_TEXT, NAME_VALIDATOR),
            version=self.text(module, "version", "/module", LONGEST_VERSION, VERSION_VALIDATOR),
            description=self.text(module, "description", "/module", LONGEST_TEXT, default=""),
            services=self.services(top.get("services", _ABSENT)),
        )

    def services(self, data: Any) -> tuple[ServiceEntry, ...]:
        if not isinstance(data, list) or not data:
            self.wrong("/services", "required", "A list of at least one service is required.")
            return ()
        first_at: dict[str, int] = {}
        entries = []
        for index, item in enumerate(data):
            entry = self.service(item, f"/services/{index}")
            if entry.name and first_at.setdefault(entry.name, index) != index:
                self.wrong(
                    f"/services/{index}/name",
                    "duplicate",
                    f"{entry.name} is already there as /services/{first_at[entry.name]}.",
                )
            entries.append(entry)
        return tuple(entries)

    def service(self, data: Any, at: str) -> ServiceEntry:
        members = self.members(data, at, ("name", *_REFERENCE_FIELDS))
        routing_type = members.get("routing_type", _ABSENT)
        if members is not _NO_MEMBERS and routing_type not in RoutingType.values:
            self.wrong(f"{at}/routing_type", "invalid_choice", f"Use one of {', '.join(RoutingType.values)}.")
        is_transactional = members.get("is_transactional", False)
        if not isinstance(is_transactional, bool):
            self.wrong(f"{at}/is_transactional", "invalid", "Use true or false.")
        elif is_transactional and routing_type == RoutingType.PING:
            self.wrong(f"{at}/is_transactional", "ping_transactional", "A ping service cannot be transactional.")
        timeout = members.get("default_timeout_s")
        is_timeout = isinstance(timeout, int) and not isinstance(timeout, bool) and 1 <= timeout <= LONGEST_TIMEOUT_S
        if timeout is not None and not is_timeout:
            self.wrong(
                f"{at}/default_timeout_s", "invalid", f"Use null or whole seconds from 1 to {LONGEST_TIMEOUT_S}."
            )
        return ServiceEntry(
            name=self.text(members, "name", at, LONGEST_TEXT, NAME_VALIDATOR),
            description=self.text(members, "description", at, LONGEST_TEXT, default=""),
            routing_type=str(routing_type),
            is_transactional=is_transactional is True,
            default_timeout_s=timeout if is_timeout else None,
        )

    def members(self, data: Any, at: str, known: tuple[str, ...]) -> Mapping[str, Any]:
        if not isinstance(data, Mapping):
            missing = data is _ABSENT
            self.wrong(at, "required" if missing else "invalid", "An object is required here.")
            return _NO_MEMBERS
        for name in data:
            if name not in known:
                self.wrong(f"{at}/{_escaped(str(name))}", "unknown", "There is no such member.")
        return data

    def text(
        self,
        members: Mapping[str, Any],
        name: str,
        at: str,
        longest: int,
        validator: RegexValidator | None = None,
        default: str | None = None,
    ) -> str:
        """Return a member that is one line of text; an empty one counts as missing."""
        value = members.get(name, default)
        if members is _NO_MEMBERS:
            return ""
        if not value and default is None:
            self.wrong(f"{at}/{name}", "required", "This member is required.")
            return ""
        if not isinstance(value, str) or not value.isprintable():
            self.wrong(f"{at}/{name}", "invalid", "Use one line of text.")
            return ""
        if len(value) > longest:
            self.wrong(f"{at}/{name}", "max_length", f"Use at most {longest} characters.")
            return ""
        if validator is not None:
            try:
                validator(value)
            except ValidationError as error:
                self.wrong(f"{at}/{name}", error.code or "invalid", error.messages[0])
                return ""
        return value

    def wrong(self, pointer: str, code: str, detail: str) -> None:
        self.errors.append(FieldError(pointer, code, detail))


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
