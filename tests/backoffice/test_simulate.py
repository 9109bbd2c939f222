"""The simulation: its script, and a short run of the whole picture."""

import json
import re
from pathlib import Path

import pytest

from backoffice.simulation import DAY, Fault, SimulationFailed, faults_of
from tests.backoffice.processes import manage


def test_a_script_is_read_in_the_order_of_its_times():
    text = '[{"at": 0.5, "what": "all_down"}, {"at": 0, "what": "line_cut", "whom": "NORTH"}]'

    assert faults_of(text) == (Fault(0.0, "line_cut", "NORTH"), Fault(0.5, "all_down"))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "The script is no JSON list of {at, what, whom}."),
        ("7", "The script is no JSON list of {at, what, whom}."),
        ('[{"what": "all_down"}]', "The script is no JSON list of {at, what, whom}."),
        ('[{"at": 0, "what": "fire"}]', "There is no fault fire: choose among "),
        ('[{"at": 0, "what": "line_cut", "whom": "EAST"}]', "line_cut needs one of NORTH, SOUTH, WEST, not 'EAST'."),
        ('[{"at": 2, "what": "all_down"}]', "2.0 is no share of the time, from 0 to 1."),
    ],
)
def test_a_script_that_is_none_is_refused_with_the_reason(text, reason):
    with pytest.raises(SimulationFailed, match=re.escape(reason)):
        faults_of(text)


def test_a_bad_day_ends_with_everything_back():
    down = {fault.what.rpartition("_")[0] for fault in DAY if fault.what.endswith(("_cut", "_down"))}
    back = {fault.what.rpartition("_")[0] for fault in DAY if fault.what.endswith("_back")}

    assert down == back == {"line", "server", "booster", "all"}


@pytest.mark.processes
def test_on_a_short_bad_day_every_ticket_arrives_once_and_in_order(tmp_path):
    done = manage(
        "simulate", "--seconds", "14", "--terminals", "6", "--sales-per-minute", "90", data_dir=tmp_path / "data"
    )

    told = {words: float(number) for number, words in re.findall(r"^ +([\d.]+)  (.+)$", done.stdout, re.MULTILINE)}
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("Every ticket arrived, once and in order.\n")
    assert told["tickets sold"] == told["delivered"] == told["confirmed by a main server"] > 60
    assert {told[words] for words in ("lost", "executed twice by a server", "refused", "still waiting")} == {0.0}
    assert told["out of a terminal's order"] == told["seconds in which a terminal could not sell"] == 0.0
    assert told["of them answered by nobody"] > 0  # while everything was down
    happened = re.findall(r"^ +[\d.]+ s  (.+?)  +\d+ sold", done.stdout, re.MULTILINE)
    bad_day = [f"{fault.what.replace('_', ' ')} {fault.whom}".strip() for fault in DAY]
    assert happened == ["the shops open", *bad_day, "the shops close", "the queues are empty"]


@pytest.mark.parametrize(
    ("arguments", "reason", "status"),
    [
        (["--seconds", "0"], "CommandError: --seconds must be above 0 and at most 86400.", 2),
        (["--terminals", "201"], "CommandError: --terminals must be above 0 and at most 200.", 2),
        (["--script", "/none.json"], "CommandError: /none.json: No such file or directory.", 1),
    ],
)
def test_wrong_usage_is_told_in_one_line(tmp_path, arguments, reason, status):
    refused = manage("simulate", *arguments, data_dir=tmp_path / "data")

    assert (refused.returncode, refused.stderr) == (status, f"{reason}\n")


def test_the_script_of_the_guide_is_one():
    guide = (Path(__file__).parents[2] / "docs/operations.md").read_text()
    script = re.search(r"```json\n(\[\{\"at\".*?)```", guide, re.DOTALL)[1]

    assert len(faults_of(script)) == len(json.loads(script))
