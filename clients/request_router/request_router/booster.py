"""The Boosters as a terminal calls them: the first that answers, and the first again when it is back."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import httpx

from request_router.documents import WrongDocument, address, parsed
from request_router.transport import Answer, NoAnswer, call

PREFIX = "/api/v1/terminal"
ANSWER_WITHIN_S = 10.0
BEYOND_THE_WAIT_S = 5.0
LONGEST_WAIT_S = 3_600.0
COUNT = re.compile(r"[0-9]{1,18}")
PASSED_OVER_S = 30.0
"""A Booster that did not answer is tried last for so long, then in its place again."""


class NoBooster(Exception):
    """None of the Boosters gave an answer; the text names each with the reason. `retry_after_s`: not before."""

    def __init__(self, reasons: Sequence[str], retry_after_s: float = 0.0) -> None:
        super().__init__("; ".join(reasons) or "no Booster is known")
        self.retry_after_s = retry_after_s


class Refused(Exception):
    """A Booster refuses what it was asked; asking another one, or again, would not help."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


@dataclass(frozen=True, slots=True)
class Polled:
    """A document that is new to the caller, its tag and revision, and since how many seconds it may be stale."""

    body: bytes
    tag: str
    revision: int
    stale_s: int | None
    booster: str


class Boosters:
    """An ordered list of Boosters, and which of them did not answer lately. Safe for several threads."""

    def __init__(
        self, client: httpx.Client, urls: Sequence[str], *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._client = client
        self._monotonic = monotonic
        self._failed_at: dict[str, float] = {}
        self.urls = tuple(urls)

    def in_order(self) -> list[str]:
        """Return the Boosters in the order to call them: the primary first, those that failed lately last."""
        now = self._monotonic()

        def failed_lately(url: str) -> bool:
            return now - self._failed_at.get(url, -PASSED_OVER_S) < PASSED_OVER_S

        return sorted(self.urls, key=failed_lately)

    def _answers(
        self, method: str, path: str, *, timeout_s: float, headers: Mapping[str, str], body: object = None
    ) -> Iterator[tuple[str, Answer | str]]:
        for url in self.in_order():
            try:
                answer = call(self._client, method, url + path, timeout_s=timeout_s, headers=headers, body=body)
            except NoAnswer as error:
                self._failed_at[url] = self._monotonic()
                yield url, str(error)
                continue
            self._failed_at.pop(url, None)
            yield url, answer

    def ask(
        self,
        method: str,
        path: str,
        *,
        token: str = "",
        headers: Mapping[str, str] | None = None,
        body: object = None,
        timeout_s: float = ANSWER_WITHIN_S,
    ) -> tuple[str, Answer]:
        """Return the first answer that is one, and whose; raises NoBooster or Refused.

        503, 429, other 5xx and redirects are no answer: the next Booster is asked.
        """
        reasons: list[str] = []
        retry_after_s = 0.0
        sent = {**(headers or {}), **({"Authorization": f"Bearer {token}"} if token else {})}
        for url, answer in self._answers(method, PREFIX + path, timeout_s=timeout_s, headers=sent, body=body):
            if isinstance(answer, str):
                reasons.append(f"{url}: {answer}")
            elif answer.status in (HTTPStatus.OK, HTTPStatus.CREATED, HTTPStatus.NOT_MODIFIED, HTTPStatus.NO_CONTENT):
                return url, answer
            elif (
                HTTPStatus.BAD_REQUEST <= answer.status < HTTPStatus.INTERNAL_SERVER_ERROR
                and answer.status != HTTPStatus.TOO_MANY_REQUESTS
            ):
                raise Refused(answer.status, _detail(answer))
            else:
                reasons.append(f"{url}: HTTP {answer.status}")
                retry_after_s = max(retry_after_s, _seconds(answer.headers.get("Retry-After", "")))
        raise NoBooster(reasons, retry_after_s)

    def poll(self, door: str, *, token: str, tag: str = "", wait_s: int = 0) -> Polled | None:
        """Return a document if it is another than the one with `tag`, None if not; `wait_s` holds the request.

        Raises NoBooster, Refused or WrongDocument.
        """
        path = f"/{door}?wait={wait_s}" if wait_s else f"/{door}"
        url, answer = self.ask(
            "GET",
            path,
            token=token,
            headers={"If-None-Match": f'"{tag}"'} if tag else {},
            timeout_s=wait_s + BEYOND_THE_WAIT_S if wait_s else ANSWER_WITHIN_S,
        )
        if answer.status == HTTPStatus.NOT_MODIFIED:
            return None
        revision = answer.headers.get("X-Booster-Revision", "")
        stale = answer.headers.get("X-Booster-Stale", "")
        return Polled(
            answer.content,
            tag_in(answer.headers),
            count_in(revision) or 0,
            count_in(stale),
            url,
        )


def count_in(text: str) -> int | None:
    """Return the number that a header spells with up to 18 of the digits 0 to 9, else None."""
    return int(text) if COUNT.fullmatch(text) else None


def tag_in(headers: Mapping[str, str]) -> str:
    """Return an answer's entity tag without quotes, empty for one that could not be sent back."""
    tag = headers.get("ETag", "").strip('"').removesuffix("-gzip")
    return tag if tag.isascii() and tag.isprintable() and '"' not in tag else ""


@dataclass(frozen=True, slots=True)
class Activated:
    """What an activation gives; `signing_keys` (JWKs) check documents that did not come from a Booster itself."""

    token: str = field(repr=False)
    boosters: tuple[str, ...]
    organization: str
    signing_keys: tuple[object, ...]


def activate(boosters: Boosters, terminal: str, code: str, software: str) -> Activated:
    """Trade an activation code for the terminal's token; raises NoBooster, Refused or WrongDocument."""
    body = {"terminal": terminal, "code": code, "software": software}
    _, answer = boosters.ask("POST", "/activate", body=body)
    told = parsed(answer.content)
    if not isinstance(told, dict) or not isinstance(told.get("token"), str):
        raise WrongDocument("The Booster's answer to the activation has no token.")
    urls = told.get("boosters")
    listed = tuple(address(url, "boosters") for url in urls) if isinstance(urls, list) else ()
    organization, keys = told.get("organization"), told.get("signing_keys")
    return Activated(
        told["token"],
        listed,
        organization if isinstance(organization, str) else "",
        tuple(keys) if isinstance(keys, list) else (),
    )


def _detail(answer: Answer) -> str:
    try:
        told: Any = json.loads(answer.content)
    except (ValueError, RecursionError):
        told = None
    detail = told.get("detail") if isinstance(told, dict) else None
    return detail if isinstance(detail, str) else f"HTTP {answer.status}"


def _seconds(text: str) -> float:
    return min(float(count_in(text) or 0), LONGEST_WAIT_S)
