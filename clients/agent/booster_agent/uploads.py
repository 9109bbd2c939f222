"""Passes a patch on that was applied on this server by hand, so that it reaches the others (OMF-30)."""

from __future__ import annotations

import logging
from http import HTTPStatus

from booster_agent import container
from booster_agent.configuration import Configuration
from booster_agent.container import PatchRefused
from booster_agent.files import read_json, write_json
from booster_agent.patching import Patching
from booster_agent.tokens import Caller
from booster_agent.versions import numbers

log = logging.getLogger("booster-agent")
PATH = "/api/v1/agent/patches"


def pass_on(configuration: Configuration, caller: Caller, patching: Patching, moment: float) -> None:
    """Upload the patch of PATCH_FOLDER that leads to the installed version, once; raises Unreachable or OSError."""
    installed = numbers(patching.installed_version())
    if configuration.patch_folder is None or installed is None:
        return
    kept = configuration.state_dir / "passed_on.json"
    done = read_json(kept)
    keys = container.keys_in(configuration.patch_keys)
    for path in sorted(configuration.patch_folder.glob("*.bpatch")):
        seen = path.stat()
        mark = f"{seen.st_size} {seen.st_mtime_ns}"
        if done.get(path.name) == mark:
            continue
        try:
            with path.open("rb") as stream:
                if numbers(container.read_line(stream, keys).version) != installed:
                    continue
            container.check(path, keys)
        except PatchRefused as refusal:
            log.error("%s is not passed on: %s", path.name, refusal)
        else:
            with path.open("rb") as stream:
                answer = caller.boosters.send_file(PATH, caller.tokens.current, stream, seen.st_size, path.name)
            if answer.status not in (HTTPStatus.OK, HTTPStatus.CREATED, HTTPStatus.BAD_REQUEST):
                log.warning("%s was not taken in and is sent again later: %s", path.name, answer.reason)
                continue
            if answer.status == HTTPStatus.BAD_REQUEST:
                log.error("%s was refused: %s", path.name, answer.reason)
            else:
                log.info("%s was passed on to the Booster.", path.name)
        done[path.name] = mark
        write_json(kept, done)
