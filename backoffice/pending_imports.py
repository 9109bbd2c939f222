"""Uploaded files between the preview of an import and its confirmation."""

from __future__ import annotations

import re
import time
from pathlib import Path
from uuid import uuid4

from django.conf import settings
from import_export.tmp_storages import BaseStorage

KEPT_S = 86_400
_NAME = re.compile(r"[0-9a-f]{32}")


class PendingImport(BaseStorage):  # type: ignore[misc]
    """A file of this product's own directory, known by a name that cannot be guessed.

    The confirmation names the file, so the library's own choice, any file of the system's temporary
    directory, would let whoever may import have it read and deleted.
    """

    def save(self, data: bytes) -> None:
        directory = _directory()
        directory.mkdir(mode=0o700, exist_ok=True)
        for old in directory.iterdir():
            if time.time() - old.stat().st_mtime > KEPT_S:  # never confirmed
                old.unlink(missing_ok=True)
        self.name = uuid4().hex
        self._path.write_bytes(data)

    def read(self) -> str:
        """Return the text; OSError when there is no such file."""
        return self._path.read_text(self.encoding)

    def remove(self) -> None:
        self._path.unlink()

    @property
    def _path(self) -> Path:
        if not _NAME.fullmatch(self.name):
            raise FileNotFoundError(self.name)
        return _directory() / self.name


def _directory() -> Path:
    return Path(settings.DATA_DIR) / "imports"
