"""`run` as a user sees it: how it starts, how it is doing, how it ends, and errors in one line."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from streamrec.connectors.backend import open_log
from streamrec.connectors.log import Log
from streamrec.dataflows.job.settings import load_settings
from tests.program.conftest import Shell

PATIENCE_S = 60.0
CLICK = '{"user_id": "u1", "item_id": "i%d", "event_type": "view", "timestamp": 1767225600000}\n'
# A model that cannot learn: a user's own code.
MODEL = """
import streamrec as sr
class Bad:
    info = sr.ModelInfo("bad", "1")
    def recommend(self, sessions, k):
        return sr.Ranking.of_lists([[]] * len(sessions))
    def learn(self, sessions):
        raise KeyError("i7")
"""
# A dataflow whose step fails at the first batch.
FLOW = """
from bytewax.dataflow import Dataflow
import streamrec as sr
FLOW_ID = "failing"
def fails(batch):
    raise ZeroDivisionError("by me")
def build_flow(job):
    flow = Dataflow(FLOW_ID)
    clicks = sr.each_batch("decode", job.read(flow, sr.CLICKS), sr.decode_clicks(job), failing="b")
    job.write_errors(clicks.failed, sr.each_batch("fails", clicks.good, fails, failing="f").failed)
    return flow
def flow():
    return build_flow(sr.open_job(FLOW_ID))
"""


class Run:
    """A process of `python -m bytewax.run`, in a folder of its own, on an embedded log."""

    def __init__(self, folder: Path, *flags: str, flow: str, **settings: str) -> None:
        self._path = folder / f"run-{time.monotonic_ns()}.log"
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("STREAMREC_", "KAFKA_"))}
        with self._path.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "bytewax.run", flow, *flags],
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env={**kept, "EMBEDDED_LOG_PATH": str(folder / "log.sqlite"), **settings},
            )

    @property
    def log(self) -> str:
        return self._path.read_text()

    def ended(self) -> int:
        return self.process.wait(PATIENCE_S)

    def until(self, done: Callable[[str], object]) -> None:
        give_up = time.monotonic() + PATIENCE_S
        while not done(self.log):
            assert self.process.poll() is None, self.log
            assert time.monotonic() < give_up, self.log
            time.sleep(0.05)


Start = Callable[..., Run]


@pytest.fixture
def start(tmp_path: Path, embedded_shell: Shell) -> Iterator[Start]:
    """Starts runs in a folder whose log holds five clicks and one that is broken."""
    embedded_shell("topics", "create")
    embedded_shell("send", "clicks", stdin="".join(CLICK % n for n in range(5)))
    embedded_shell("send", "clicks", "--raw", stdin="broken")
    (tmp_path / "bad.py").write_text(MODEL)
    (tmp_path / "failing.py").write_text(FLOW)
    runs: list[Run] = []

    def begin(*flags: str, flow: str = "streamrec.dataflows.recommender", **settings: str) -> Run:
        runs.append(Run(tmp_path, *flags, flow=flow, **settings))
        return runs[-1]

    yield begin
    for run in runs:
        run.process.kill()
        run.process.wait()


@contextmanager
def opened(folder: Path) -> Iterator[Log]:
    yield open_log(load_settings(embedded_log_path=folder / "log.sqlite"))


def test_a_run_says_where_it_starts_how_it_is_doing_and_how_it_ended(start: Start) -> None:
    run = start("-r", "state", "-s", "1", "-b", "0", STREAMREC_STATUS_S="0.5")
    run.until(
        lambda log: re.search(r"recommender: 6 read .*, 5 to recommendations, .*, 1 errors", log)
    )
    run.until(lambda log: "recommender: 6 read (0/s)" in log)
    run.process.send_signal(signal.SIGTERM)
    assert run.ended() == 0, run.log
    lines = run.log.splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ [A-Z]+ ", line) for line in lines), lines
    (begin,) = (line for line in lines if "recommender starts on embedded log" in line)
    assert re.search(r"model session-recommender [0-9a-f]{12}, begins at committed", begin)
    assert "state in state/state, delivery read_back" in begin
    assert "recommender reads clicks from partition:offset 0:0, 1:0, 2:0" in run.log
    (last,) = (line for line in lines if "ended in good order" in line)
    assert "6 read in" in last and "1 errors (1 not_wire_format)" in last
    assert any(line.endswith("lag 0") for line in lines)


def test_the_next_start_says_that_it_goes_on(start: Start) -> None:
    flags = ("-r", "state", "-s", "1", "-b", "0")
    assert start(*flags, STREAMREC_FOLLOW="false").ended() == 0
    run = start(*flags, STREAMREC_FOLLOW="false")
    assert run.ended() == 0
    assert "0 read in" in run.log and "none written, 0 errors" in run.log


def test_without_a_recovery_directory_it_says_that_nothing_is_kept(start: Start) -> None:
    run = start(STREAMREC_FOLLOW="false")
    assert run.ended() == 0
    assert "nothing is kept over a restart (-r DIR keeps it)" in run.log


def test_lines_are_json_where_that_is_asked_for(start: Start) -> None:
    run = start(STREAMREC_FOLLOW="false", STREAMREC_LOG_FORMAT="json")
    assert run.ended() == 0
    found = [json.loads(line) for line in run.log.splitlines()]
    assert all({"time", "level", "logger", "message"} <= set(each) for each in found)
    assert any("ended in good order" in each["message"] for each in found)


def test_a_level_leaves_out_what_is_below_it(start: Start) -> None:
    run = start(STREAMREC_FOLLOW="false", STREAMREC_LOG_LEVEL="warning")
    assert run.ended() == 0
    assert run.log == ""


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"STREAMREC_TOP_K": "0"}, "STREAMREC_TOP_K: input should be greater than or equal to 1"),
        ({"STREAMREC_MODEL": "nosuch:X"}, "module 'nosuch' cannot be imported"),
        ({"STREAMREC_MODEL": "bad:Nosuch"}, "expected a class or function 'Nosuch'"),
        ({"STREAMREC_MODEL_PATH": "nosuch"}, "expected a model artifact with a manifest.json"),
        ({"STREAMREC_CLICKS_TOPIC": "nosuch"}, "expected topic 'nosuch', got none by that name"),
        ({"STREAMREC_ERRORS_TOPIC": "nosuch"}, "expected the schema of schemas/errors.avsc"),
        ({"EMBEDDED_LOG_PATH": "/dev/null/x"}, "/dev/null"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_keeps_it_from_starting_is_one_line(
    start: Start, settings: dict[str, str], told: str
) -> None:
    run = start(**settings)
    assert run.ended() == 1
    said = [line for line in run.log.splitlines() if " INFO " not in line]
    assert len(said) == 1, run.log
    assert told in said[0]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_what_happens_in_mid_run_is_one_line(start: Start, tmp_path: Path, workers: str) -> None:
    run = start("-w", workers)
    run.until(lambda log: "reads clicks" in log)
    with opened(tmp_path) as log, closing(log.admin()) as admin:
        admin.delete("clicks")
    assert run.ended() == 1
    said = [line for line in run.log.splitlines() if " INFO " not in line]
    assert len(said) == 1, run.log
    assert "expected topic 'clicks', got none by that name" in said[0]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_what_a_step_of_a_user_raises_is_one_line_with_its_place(
    start: Start, workers: str
) -> None:
    run = start("-w", workers, flow="failing")
    assert run.ended() == 1
    said = [line for line in run.log.splitlines() if " INFO " not in line]
    assert len(said) == 1, run.log
    assert "ZeroDivisionError('by me') at " in said[0]
    assert said[0].endswith("failing.py:6")


def test_the_traceback_is_there_for_who_asks(start: Start) -> None:
    run = start(flow="failing", STREAMREC_LOG_LEVEL="DEBUG")
    assert run.ended() == 1
    assert "Traceback (most recent call last)" in run.log


def test_a_model_that_cannot_learn_is_told_in_a_line(start: Start) -> None:
    run = start(STREAMREC_MODEL="bad:Bad", STREAMREC_FOLLOW="false")
    assert run.ended() == 0
    said = [line for line in run.log.splitlines() if " INFO " not in line]
    assert len(said) >= 1
    assert all("may not have been learned" in line and "KeyError('i7') at" in line for line in said)


def test_a_variable_that_is_no_setting_is_a_warning_with_the_nearest(start: Start) -> None:
    run = start(STREAMREC_FOLLOW="false", STREAMREC_TOPK="3", STREAMREC_SERVICE_HOST="10.0.0.1")
    assert run.ended() == 0
    warned = [line for line in run.log.splitlines() if " WARNING " in line]
    assert len(warned) == 1
    assert "STREAMREC_TOPK is no setting; did you mean STREAMREC_TOP_K?" in warned[0]


def test_the_command_fills_in_what_the_engine_asks_for(start: Start, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "streamrec", "run", "-r", "kept"],
        cwd=tmp_path,
        env={**os.environ, "STREAMREC_FOLLOW": "false"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    assert "state in kept/state" in done.stderr
    assert "6 read in" in done.stderr


def test_debug_reaches_the_process_that_runs(start: Start, tmp_path: Path) -> None:
    for options in ([], ["--debug"]):
        done = subprocess.run(
            [sys.executable, "-m", "streamrec", *options, "run", "--flow", "failing"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        assert done.returncode == 1
        assert "ZeroDivisionError('by me') at " in done.stderr
        assert ("Traceback (most recent call last)" in done.stderr) == bool(options)
