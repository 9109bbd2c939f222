"""The agent's token: kept on disk, replaced now and then, and never lost when it is killed in between.

A new token is on disk before it is used, and the old one stays there until a Booster has taken the new one;
the Booster keeps the old one valid until then, for at most ten minutes. Design, section 6.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from http import HTTPStatus
from pathlib import Path

from booster_agent.calling import Answer, Boosters
from booster_agent.configuration import TOKEN
from booster_agent.files import read_json, write_json

log = logging.getLogger("booster-agent")
DAY_S = 86_400.0
ROLL_AGAIN_AFTER_S = 30.0
"""A roll whose answer was lost is asked for again well within the ten minutes."""


class Tokens:
    """The token in use; `configured` is what the administrator gave, and wins when it is another than before."""

    def __init__(self, file: Path, configured: str, moment: float) -> None:
        self._file = file
        self._lock = threading.Lock()
        origin = hashlib.sha256(configured.encode()).hexdigest()
        kept = read_json(file)
        if kept.get("origin") != origin or not TOKEN.fullmatch(str(kept.get("token"))):
            kept = {"origin": origin, "token": configured, "since": moment}
        if "next" in kept and not TOKEN.fullmatch(str(kept["next"])):
            del kept["next"]
        if not isinstance(kept.get("since"), int | float):
            kept["since"] = moment
        self._kept = kept

    def __repr__(self) -> str:
        return "Tokens(…)"

    @property
    def current(self) -> str:
        """The token to send: the new one as soon as there is one."""
        with self._lock:
            return str(self._kept.get("next") or self._kept["token"])

    def heard(self, sent: str, answer: Answer, moment: float) -> bool:
        """Take in how a Booster answered a token; return whether the call is to be made again with another."""
        with self._lock:
            if sent != self._kept.get("next"):
                return False
            if answer.status == HTTPStatus.UNAUTHORIZED:
                # The new one never became valid, as after a restore of the Booster's database: back to the old.
                self._save({name: value for name, value in self._kept.items() if name != "next"})
                return True
            self._save({"origin": self._kept["origin"], "token": sent, "since": moment})
            return False

    def is_due(self, moment: float, days: float) -> bool:
        """Tell whether the token is to be replaced now."""
        with self._lock:
            if not days or "next" in self._kept:
                return False
            if "asked_at" in self._kept:
                return moment - float(self._kept["asked_at"]) >= ROLL_AGAIN_AFTER_S
            return moment - float(self._kept["since"]) >= days * DAY_S

    def roll(self, boosters: Boosters, moment: float) -> None:
        """Ask for a new token and keep it; raises Unreachable or OSError, after which the old one is still used."""
        self._save(self._kept | {"asked_at": moment})
        sent = self.current
        answer = boosters.call("POST", "/api/v1/agent/token", sent)
        told = answer.json.get("token")
        if answer.status != HTTPStatus.CREATED or not isinstance(told, str) or not TOKEN.fullmatch(told):
            log.warning("The token was not replaced: %s", answer.reason)
            return
        with self._lock:
            kept = {name: value for name, value in self._kept.items() if name != "asked_at"}
            self._save(kept | {"next": told})
        log.info("The token was replaced.")

    def _save(self, kept: dict[str, object]) -> None:
        write_json(self._file, kept)
        self._kept = kept


class Caller:
    """Calls the Boosters with the token in use, and with the old one where the new one is not known."""

    def __init__(self, boosters: Boosters, tokens: Tokens) -> None:
        self.boosters = boosters
        self.tokens = tokens

    def call(
        self, method: str, path: str, moment: float, body: object = None, headers: dict[str, str] | None = None
    ) -> Answer:
        """Return the answer; raises Unreachable."""
        sent = self.tokens.current
        answer = self.boosters.call(method, path, sent, body, headers)
        is_overtaken = answer.status == HTTPStatus.UNAUTHORIZED and self.tokens.current != sent
        if self.tokens.heard(sent, answer, moment) or is_overtaken:
            answer = self.boosters.call(method, path, self.tokens.current, body, headers)
        return answer
