"""Taking a patch in, from wherever it comes, and giving it up again."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from django.db import IntegrityError, transaction

from accounts.models import User
from backoffice.refusals import Conflict
from boosters import patch_storage
from boosters.patch_files import Checked, PatchRefused, check, vendor_keys
from boosters.patch_models import Patch
from events.log import record
from servers.models import MobileServer

UPLOADED = "patch-uploaded"
REFUSED = "patch-refused"
DELETED = "patch-deleted"
LONGEST_NAME = 200


def upload(
    pieces: Iterable[bytes],
    moment: datetime,
    *,
    actor: User | None = None,
    actor_name: str = "",
    server: MobileServer | None = None,
    file_name: str = "",
) -> tuple[Patch, bool]:
    """Check and keep a patch; return it and whether it is new. The same file again changes nothing.

    Raises PatchRefused, which is recorded with its reason, DiskFull or TooLargePatch; nothing is kept then.
    """
    name = "".join(letter for letter in file_name if letter.isprintable())[:LONGEST_NAME]
    actor_name = actor_name or (server.key if server else "")
    try:
        with patch_storage.incoming(pieces) as path:
            checked = check(path, vendor_keys())
            present = Patch.objects.filter(sha256=checked.sha256).first()
            if present is not None:
                return present, False
            try:
                with transaction.atomic():
                    patch = _make(checked, moment, actor, server)
                    with patch_storage.room():
                        patch_storage.keep(patch, path)
                        patch_storage.place(path, checked.sha256)
                    record(
                        UPLOADED,
                        moment=moment,
                        object_type="patch",
                        object_key=str(patch),
                        file_name=name,
                        sha256=checked.sha256,
                        size_bytes=checked.size_bytes,
                        key_id=patch.key_id,
                        actor=actor,
                        actor_name=actor_name,
                    )
            except IntegrityError:
                return Patch.objects.get(sha256=checked.sha256), False  # another upload of the same file was faster
    except PatchRefused as refusal:
        record(
            REFUSED,
            moment=moment,
            object_type="patch",
            object_key=name,
            cause=refusal.detail[:255],
            reason=refusal.code,
            actor=actor,
            actor_name=actor_name,
        )
        raise
    return patch, True


def _make(checked: Checked, moment: datetime, actor: User | None, server: MobileServer | None) -> Patch:
    description = checked.description
    return Patch.objects.create(
        product=description.product,
        name=description.name,
        version=description.version,
        fits_from=description.fits_from,
        fits_to=description.fits_to,
        size_bytes=checked.size_bytes,
        sha256=checked.sha256,
        apply=description.apply,
        revert=description.revert or "",
        notes=description.notes,
        key_id=description.key_id,
        uploaded_at=moment,
        uploaded_by=actor,
        uploaded_from=server,
    )


def delete(patch: Patch, moment: datetime, *, actor: User | None = None) -> None:
    """Delete a patch that no roll-out refers to; raises Conflict."""
    with transaction.atomic():
        row = Patch.objects.select_for_update().get(pk=patch.pk)
        if row.roll_outs.exists():
            raise Conflict(f"{row} has roll-outs, whose history needs it.")
        record(DELETED, moment=moment, object_type="patch", object_key=str(row), sha256=row.sha256, actor=actor)
        row.delete()
        transaction.on_commit(lambda: patch_storage.forget(patch.sha256))
