"""Recovery directories that an earlier commit left are resumed by this one.

`tests/dataflows/saved_before` says how they were made: a dataflow was killed when it had written
answers that it had not saved, and with unread clicks before it.
"""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path

import pytest

from streamrec.connectors.backend import open_log
from streamrec.connectors.local.unpacking import unpack_tar
from streamrec.connectors.log import TopicSpec
from streamrec.connectors.log_settings import LogSettings
from tests.dataflows.saved_before.cases import CASES, GROUP, TOPICS, Case, Saved, outcomes, topic
from tests.dataflows.saved_before.kafka_topics import Options, open_lanes, write_topics

_OURS = ("STREAMREC_", "BYTEWAX_", "KAFKA_", "SCHEMA_REGISTRY_", "EMBEDDED_LOG_")


@pytest.fixture(
    params=[
        pytest.param(case, id=case.name, marks=[pytest.mark.kafka] if case.is_on_kafka else [])
        for case in CASES
    ]
)
def case(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Case]:
    """What one archive holds, in `tmp_path` and on Kafka, and the environment to go on with it."""
    case: Case = request.param
    kafka = request.getfixturevalue("kafka_settings").librdkafka() if case.is_on_kafka else {}
    unpack_tar(case.archive, tmp_path)
    for name in [name for name in os.environ if name.startswith(_OURS)]:
        monkeypatch.delenv(name)
    for name, value in case.variables(tmp_path).items():
        monkeypatch.setenv(name, value)
    for option, value in kafka.items():
        ours = "KAFKA_" if option == "bootstrap.servers" else "KAFKA_OPTION_"
        monkeypatch.setenv(ours + option.upper().replace(".", "_"), value)
    with on_kafka(case, tmp_path / "topics.jsonl", kafka) if kafka else nullcontext():
        yield case


@contextmanager
def on_kafka(case: Case, lines: Path, options: Options) -> Iterator[None]:
    """The topics as they were when the dataflow was killed."""
    names = [topic(name) for name in TOPICS]
    written = [topic(name) for name in (case.answers, "errors")]
    lanes = open_lanes(options, {name: f"{GROUP}.{name}.lane-" for name in written})
    with closing(open_log(LogSettings()).admin()) as admin:
        for name in names:
            if name in admin.topics():  # of a test that was broken off
                admin.delete(name)
            admin.create(TopicSpec(name, configs={"retention.ms": "-1"}))
        write_topics(options, lines.read_text().splitlines(), lanes)
        yield
        for name in names:
            admin.delete(name)


def test_goes_on_as_if_it_had_not_been_killed(case: Case, tmp_path: Path) -> None:
    recovery = tmp_path / "recovery"
    before = Saved.of(recovery)
    assert before.next > 1
    # Schemas have got fields since, and are registered as an upgrade does it.
    created = [sys.executable, "-m", "streamrec", "topics", "create"]
    subprocess.run(created, check=True, capture_output=True, timeout=60)

    run = subprocess.run(
        case.command(tmp_path),
        env={**os.environ, "STREAMREC_FOLLOW": "false"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )

    assert run.returncode == 0, run.stdout
    log = open_log(LogSettings())
    found = [*outcomes(log, case.answers), *outcomes(log, "errors")]
    expected = json.loads((tmp_path / "expected.json").read_text())
    assert Counter(place for place, _ in found) == Counter(dict.fromkeys(expected, 1))
    assert dict(found) == expected
    assert_resumed(before, Saved.of(recovery))


def assert_resumed(before: Saved, after: Saved) -> None:
    """Outputs alone would not tell: a dataflow that begins anew reads all clicks again, and what it
    has written, and drops each answer when it comes again."""
    assert after.began == before.next
    new = {step for step in after.steps() if step.endswith(".once")}  # was not there then
    assert after.steps() - new == before.steps()
    # Of river's rankers. Some learn less from the rest than they had learned: begun anew, it shows.
    for shard, ranker in before.of_step("recommender.recommend").items():
        if ranker is not None:
            now = after.of_step("recommender.recommend")[shard]
            assert (now["counts"] >= ranker["counts"]).all(), shard
            assert now["iterations"] >= ranker["iterations"], shard
