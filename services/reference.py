"""Changing services by hand: those of an installed module are a reference (seed, "Mobile Services")."""

from __future__ import annotations

from django.db import transaction
from django.db.models import ProtectedError

from backoffice.refusals import Conflict, FieldError, describe_blockers
from services.models import MobileService, Module

REFERENCE_FIELDS = ("module_id", "name", "description", "routing_type", "is_transactional", "default_timeout_s")


class NotInDevelopment(Conflict):
    type = "/problems/not-in-development"
    title = "The module is not in development"


class ServiceInUse(Conflict):
    type = "/problems/in-use"
    title = "Still in use"


def save_service(service: MobileService) -> MobileService:
    """Save a service; of a module that is not in development only timeout and active may change.

    Raises NotInDevelopment naming each field that must stay, django's ValidationError for bad fields.
    """
    with transaction.atomic():
        before = MobileService.objects.select_related("module").filter(pk=service.pk).first()
        changed = [
            name for name in REFERENCE_FIELDS if before is None or getattr(before, name) != getattr(service, name)
        ]
        if changed and service.module_id is not None:
            for module in {before.module if before else service.module, service.module}:
                _check_in_development(module, [] if before is None else changed)
        service.full_clean()
        service.save()
    return service


def delete_service(service: MobileService) -> None:
    """Delete a service of a module in development that no server names.

    Raises NotInDevelopment, or ServiceInUse naming the servers.
    """
    _check_in_development(service.module, [])
    try:
        service.delete()
    except ProtectedError as error:
        raise ServiceInUse(
            f"{service.name} cannot be deleted: {describe_blockers(error.protected_objects)}."
        ) from error


def _check_in_development(module: Module, fields: list[str]) -> None:
    if module.in_development:
        return
    message = f"The module {module.name} is not in development: its services are a reference."
    raise NotInDevelopment(
        message,
        errors=[FieldError(f"/{name.removesuffix('_id')}", "not_in_development", message) for name in fields],
    )
