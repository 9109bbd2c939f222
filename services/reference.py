"""What may be changed of modules and mobile services.

The services of an installed module are a reference: an administrator sets their timeout and active flag,
all else comes with the module's manifest, unless the module is in development.
"""

from __future__ import annotations

from django.db import models, transaction

from backoffice.refusals import Conflict, FieldError
from services.models import MobileService, Module

EDITABLE = frozenset({"timeout_s", "is_active"})
SHIPPED = frozenset({"name", "version", "description"})


class NotInDevelopment(Conflict):
    type = "/problems/not-in-development"
    title = "The module is not in development"


def save_service(service: MobileService) -> MobileService:
    """Save a new or changed service.

    Raises NotInDevelopment for more than timeout and active flag outside a module in development,
    django's ValidationError for bad fields.
    """
    with transaction.atomic():
        stored = MobileService.objects.select_related("module").filter(pk=service.pk).first()
        changed = _changed(stored, service) - EDITABLE
        if changed:
            for module in {service.module, stored.module if stored else service.module}:
                _check_in_development(module, changed)
        service.full_clean()
        service.save()
    return service


def delete_service(service: MobileService) -> None:
    """Delete a service; raises NotInDevelopment, or django's ProtectedError while servers name it."""
    _check_in_development(service.module, set())
    service.delete()


def save_module(module: Module) -> Module:
    """Save a new or changed module: what a manifest ships changes only in development.

    The change that puts a module into development, or takes it out, may bring other changes along.
    """
    with transaction.atomic():
        stored = Module.objects.filter(pk=module.pk).first()
        if stored and not module.in_development and not stored.in_development:
            changed = _changed(stored, module) & SHIPPED
            if changed:
                _check_in_development(stored, changed)
        module.full_clean()
        module.save()
    return module


def _changed(stored: models.Model | None, new: models.Model) -> set[str]:
    names = {field.name for field in new._meta.concrete_fields}
    if stored is None:
        return names
    return {name for name in names if getattr(stored, name) != getattr(new, name)}


def _check_in_development(module: Module, changed: set[str]) -> None:
    if not module.in_development:
        detail = f"{module.name} is not in development: its services come with the module's manifest."
        raise NotInDevelopment(
            detail, errors=[FieldError(f"/{name}", "not_in_development", detail) for name in sorted(changed - {"id"})]
        )
