"""Reading a body that is a patch: piece by piece, and only as much as a patch may have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import IO, Any

from rest_framework.exceptions import UnsupportedMediaType
from rest_framework.parsers import BaseParser
from rest_framework.request import Request

from boosters.patch_files import PIECE

NAME_HEADER = "X-File-Name"


class PatchParser(BaseParser):
    """Leave the body where it is; the view reads it as a stream."""

    media_type = "application/octet-stream"

    def parse(
        self, stream: IO[bytes], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        return stream


def pieces_of(request: Request) -> Iterator[bytes]:
    """Return the body of a request in pieces, also one sent without its length; raises UnsupportedMediaType."""
    kind = (request.content_type or "").partition(";")[0].strip().lower()
    if kind != PatchParser.media_type:
        raise UnsupportedMediaType(kind)

    def pieces() -> Iterator[bytes]:
        while piece := request._request.read(PIECE):
            yield piece

    return pieces()
