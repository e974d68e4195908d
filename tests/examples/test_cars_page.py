"""The page of the cars, followed with a smaller fleet, with a restart between two runs."""

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import judge
import online
import reconstruct
import send
import train_autoencoder
from comparisons import UNIT, compared
from from_topic import Readings, read_columns
from half_space import OnlineTrees, Options
from streamrec.connectors.embedded.log import EmbeddedLog
from tests.examples.pages import EXAMPLES, commands, ran

FOLDER = EXAMPLES / "cars"
# What the test puts for the page's numbers.
SMALLER = {"100000": "1500", "10": "12", "48000": "750"}
MAINS = {
    "send.py": send.main,
    "train_autoencoder.py": train_autoencoder.main,
    "judge.py": judge.main,
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the example's, in which the test stands."""
    made = tmp_path / "cars"
    shutil.copytree(FOLDER, made, ignore=shutil.ignore_patterns("autoencoder.[js]*", "data"))
    monkeypatch.chdir(made)
    for name in list(os.environ):
        if name.startswith(("STREAMREC_", "KAFKA_", "SCHEMA_", "EMBEDDED_")):
            monkeypatch.delenv(name)
    for module in (train_autoencoder, judge):
        monkeypatch.setattr(module, "MODEL", made / "autoencoder.skops")
    return made


def called(command: list[str], said: pytest.CaptureFixture[str]) -> str:
    """What `python FILE ...` prints, without a process of its own."""
    program, file, *given = command
    assert program == "python"
    MAINS[file]([SMALLER.get(each, each) for each in given])
    return said.readouterr().out


def in_order(log: EmbeddedLog) -> list[list[Readings]]:
    """All readings, partition by partition."""
    found: dict[int, list[Readings]] = {}
    for readings in read_columns(log, "cars", 0, None):
        found.setdefault(readings.partition, []).append(readings)
    return [found[partition] for partition in sorted(found)]


@pytest.mark.timeout(300)  # five processes, on machines that may be busy
def test_the_page_as_a_reader_follows_it_with_a_restart(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    topics, sending, training, run_online, run_autoencoder, receive, judging = commands(
        FOLDER / "README.md"
    )
    assert "topic car-alerts: made" in ran(topics, folder)
    assert "sent 18,000 readings of 1,500 cars" in called(sending, capsys)
    told = called(training, capsys)
    assert re.match(r"trained on 6,000 readings, threshold 0\.\d+", told), told
    ran(run_online, folder)
    ran(run_autoencoder, folder)
    called(sending, capsys)  # the same again, to which the trees go on with what they know
    ran(run_online, folder)

    said = ran(receive[:3], folder)
    alerts = [json.loads(line) for line in said.splitlines()]
    of = {
        flow: {
            (a["source_partition"], a["source_offset"]): a["score"]
            for a in alerts
            if a["dataflow"] == flow
        }
        for flow in (online.FLOW_ID, reconstruct.FLOW_ID)
    }
    assert sum(map(len, of.values())) == len(alerts), "a reading brought two alerts of one model"
    expected = {}
    for partition, parts in enumerate(in_order(EmbeddedLog(folder / "data" / "log.sqlite"))):
        signals = np.concatenate([readings.signals for readings in parts])
        scores, thresholds = OnlineTrees(UNIT, Options()).advance(compared(signals))
        for offset in np.flatnonzero(scores > thresholds).tolist():
            expected[partition, offset] = scores[offset]
    assert of[online.FLOW_ID] == expected, "trees did not go on where they had stopped"
    assert len(of[reconstruct.FLOW_ID]) > 100

    heads, *rows = called(judging, capsys).splitlines()[1:]
    assert heads.split()[:2] == ["AUC", "all"]
    found = {row[:18].strip(): float(row[18:26]) for row in rows}
    assert found["autoencoder"] > found["threshold rule"] > 0.6
    assert found["half-space trees"] > found["threshold rule"]
