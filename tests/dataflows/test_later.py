"""A step that answers later: it holds up nothing, loses nothing and says nothing twice."""

import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from bytewax.errors import BytewaxRuntimeError
from bytewax.recovery import RecoveryConfig
from bytewax.testing import cluster_main, run_main

from streamrec import PaperJob, ShardRecords, batch_of
from streamrec.connectors.allowance import Allowance
from streamrec.connectors.log import Log
from streamrec.connectors.reading import read_all
from streamrec.dataflows.engine.sealing import waiting_of
from streamrec.dataflows.engine.stopping import Stopping
from streamrec.dataflows.engine.store import snapshots_before
from streamrec.dataflows.errors.redrive import read_errors
from streamrec.dataflows.job.later import Ask
from streamrec.dataflows.job.opening import open_job_with
from streamrec.dataflows.job.settings import Settings
from streamrec.dataflows.job.topics import ERRORS
from tests.dataflows.asking import (
    ANSWERED,
    EASY,
    FLOW_ID,
    HARD,
    TOPICS,
    build_flow,
    make_topics,
    said,
    send,
)

pytestmark = pytest.mark.timeout(120)

EPOCH_S = 0.2
LANES = 4


class BrokenOff(Exception):
    """Stands for a kill."""


class Bench:
    """The dataflow on a log, run in this process."""

    def __init__(self, settings: Settings, recovery: Path | None) -> None:
        self.settings = settings
        self.log: Log = make_topics(settings)
        self.recovery = recovery

    def run(
        self,
        ask: Ask,
        allowance: Allowance | None = None,
        stopping: Stopping | None = None,
        say: Callable[[Any], str | None] = str,
        workers: int = 1,
        **given: Any,
    ) -> None:
        settings = self.settings.model_copy(update=given)
        job = open_job_with(FLOW_ID, settings, stopping=stopping or Stopping())
        config = None
        if self.recovery is not None:
            config = RecoveryConfig(str(self.recovery))  # type: ignore[no-untyped-call]
        flow = build_flow(job, ask, allowance, say)
        if workers == 1:
            run_main(  # type: ignore[no-untyped-call]
                flow, epoch_interval=timedelta(seconds=EPOCH_S), recovery_config=config
            )
        else:
            cluster_main(  # type: ignore[no-untyped-call]
                flow,
                [],
                0,
                epoch_interval=timedelta(seconds=EPOCH_S),
                recovery_config=config,
                worker_count_per_proc=workers,
            )

    def send(self, topic: Any, *texts: str) -> None:
        send(self.log, self.settings.topic(topic), texts)

    def answered(self) -> list[str]:
        """The keys of what was answered, in order of writing for each partition."""
        records = read_all(self.log, self.settings.topic(ANSWERED))
        return [(record.key or b"").decode() for record in records]

    def failed(self) -> list[str]:
        found = read_errors(self.log, self.settings.topic(ERRORS))
        return [json.loads(each.fields["value"]) for each in found]


@pytest.fixture
def make_bench(
    request: pytest.FixtureRequest,
    job_settings: Callable[..., Settings],
    topic_name: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Callable[..., Bench]:
    for topic in TOPICS[:3]:
        monkeypatch.setenv(f"STREAMREC_{topic.name.upper()}_TOPIC", f"{topic_name}-{topic.name}")

    def make(kafka: bool = False, recovery: bool = True, **given: Any) -> Bench:
        if kafka:
            found = request.getfixturevalue("kafka_settings")
            request.getfixturevalue("kafka_log")
            names = ("kafka_bootstrap_servers", "kafka_options", "schema_registry_url")
            given.update({name: getattr(found, name) for name in names})
        folder = tmp_path / "recovery" if recovery else None
        if folder is not None:
            monkeypatch.setenv("BYTEWAX_RECOVERY_DIRECTORY", str(folder))
        return Bench(job_settings(lanes=LANES, shards=LANES, **given), folder)

    return make


def names(what: str, count: int) -> list[str]:
    return [f"{what}-{number}" for number in range(count)]


def wait_for(done: Callable[[], bool]) -> None:
    give_up_s = time.monotonic() + 60.0
    while not done() and time.monotonic() < give_up_s:
        time.sleep(0.005)


def saved_easily(bench: Bench) -> int:
    """How many records that are answered at once are behind a snapshot: a group's progress follows
    what is durable. (The engine's own store is not looked at while it runs in this process.)"""
    group = f"{bench.settings.consumer_group}-{FLOW_ID}"
    with closing(bench.log.admin()) as admin:
        return sum(admin.committed(group, bench.settings.topic(EASY)).values())


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as found:
        yield found


def answering_in(pool: ThreadPoolExecutor, record_s: float) -> Ask:
    """A model that takes so long for each record, one after another."""

    def answer(part: ShardRecords) -> list[Any]:
        time.sleep(record_s * len(part.rows))
        return said(part)

    return lambda part: pool.submit(answer, part)


def test_a_finite_run_ends_when_all_is_answered_in_order_for_each_key(
    make_bench: Callable[..., Bench], pool: ThreadPoolExecutor
) -> None:
    bench = make_bench(recovery=False)
    hard, easy = names("hard", 40), names("easy", 40)
    bench.send(HARD, *hard)
    bench.send(EASY, *easy)

    bench.run(answering_in(pool, 0.005), Allowance(records_max=3))

    assert sorted(bench.answered()) == sorted(hard + easy)


def test_what_fails_later_is_in_errors_and_its_neighbours_are_answered(
    make_bench: Callable[..., Bench], pool: ThreadPoolExecutor
) -> None:
    bench = make_bench(recovery=False)
    bench.send(HARD, *names("hard", 9))

    def say(value: str) -> str | None:
        return None if value == "hard-3" else value

    bench.run(lambda part: pool.submit(said, part, say), Allowance())

    assert bench.failed() == ["hard-3"]
    assert sorted(bench.answered()) == [f"hard-{n}" for n in range(9) if n != 3]


def test_a_model_that_does_not_answer_holds_up_neither_the_others_nor_an_epoch(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench(follow=True)
    assert bench.recovery is not None
    bench.send(HARD, *names("hard", 50))
    stopping, asked, answered = Stopping(), list[int](), list[str]()
    saved: list[int] = []

    def ask(part: ShardRecords) -> "Future[list[Any]]":
        asked.append(len(part.rows))
        return Future()

    def say(value: str) -> str:
        answered.append(value)
        return value

    def feed() -> None:
        wait_for(lambda: sum(asked) == 4)
        for number in range(5):
            bench.send(EASY, f"easy-{number}")
            wait_for(lambda n=number: len(answered) > n)  # type: ignore[misc]
        wait_for(lambda: saved_easily(bench) == 5)
        saved.append(saved_easily(bench))  # before the stop, which saves too
        stopping.ask("the test")

    feeder = threading.Thread(target=feed)
    feeder.start()
    bench.run(ask, Allowance(records_max=4), stopping, say)
    feeder.join()

    assert len(answered) == 5
    assert sum(asked) == 4  # 46 wait on their topic
    assert saved == [5]
    assert sorted(bench.answered()) == sorted(answered)


@pytest.mark.parametrize("kafka", [False, pytest.param(True, marks=pytest.mark.kafka)])
def test_what_waits_at_a_stop_is_answered_once_by_the_next_start(
    make_bench: Callable[..., Bench], pool: ThreadPoolExecutor, kafka: bool
) -> None:
    bench = make_bench(kafka)
    assert bench.recovery is not None
    hard = names("hard", 20)
    bench.send(HARD, *hard)
    stopping = Stopping()
    asked_s: list[float] = []

    def stop() -> None:
        wait_for(lambda: sum(asked) == 8)
        asked_s.append(time.monotonic())
        stopping.ask("the test")

    asked: list[int] = []

    def never(part: ShardRecords) -> "Future[list[Any]]":
        asked.append(len(part.rows))
        return Future()

    timer = threading.Thread(target=stop)
    timer.start()
    bench.run(never, Allowance(records_max=8), stopping, follow=True)
    assert time.monotonic() - asked_s[0] < 5.0
    assert bench.answered() == []
    parts = sorted(bench.recovery.glob("part-*.sqlite3"))
    waiting = [
        plain
        for snapshot in snapshots_before(parts)
        if snapshot.step.endswith(".ask")
        for plain in waiting_of(snapshot.value())
    ]
    assert sum(len(plain["offsets"]) for plain in waiting) == 8
    assert {key for plain in waiting for key in plain["keys"]} < {text.encode() for text in hard}

    bench.run(answering_in(pool, 0.001), Allowance(records_max=8))

    assert sorted(bench.answered()) == sorted(hard)


def test_without_a_recovery_directory_what_waits_at_a_stop_is_read_again(
    make_bench: Callable[..., Bench], pool: ThreadPoolExecutor
) -> None:
    bench = make_bench(recovery=False)
    hard = names("hard", 20)
    bench.send(HARD, *hard)
    stopping = Stopping()
    asked: list[int] = []

    def stop() -> None:
        wait_for(lambda: len(asked) >= 2)
        stopping.ask("the test")

    threading.Thread(target=stop).start()

    def first_alone(part: ShardRecords) -> "Future[list[Any]] | list[Any]":
        asked.append(len(part.rows))
        return said(part) if len(asked) == 1 else Future()

    bench.run(first_alone, Allowance(records_max=4), stopping, follow=True)
    before = bench.answered()
    assert 0 < len(before) < 20

    bench.run(answering_in(pool, 0.001), Allowance())

    assert set(bench.answered()) == set(hard)


@pytest.mark.parametrize("workers", [1, 2])
def test_broken_off_at_random_each_question_is_answered_once(
    make_bench: Callable[..., Bench], workers: int
) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")  # noqa: T201  # a failure is reproduced by it
    chance = random.Random(seed)
    bench = make_bench()
    hard, easy = names("hard", 300), names("easy", 100)
    bench.send(HARD, *hard)
    bench.send(EASY, *easy)
    breaks = 0
    broken: list[int] = []  # runs

    def may_break() -> None:
        if chance.random() < 0.02 and breaks < 6 and breaks not in broken:
            broken.append(breaks)
            raise BrokenOff

    class Later(Future[list[Any]]):
        """Answered when it was asked a few times; a kill may come with it."""

        def __init__(self, part: ShardRecords) -> None:
            super().__init__()
            self.part, self.left = part, chance.randrange(12)

        def done(self) -> bool:
            self.left -= 1
            return self.left < 0

        def result(self, timeout: float | None = None) -> list[Any]:
            may_break()
            return said(self.part)

    def ask(part: ShardRecords) -> "Later | list[Any]":
        may_break()
        return Later(part) if chance.random() < 0.8 else said(part)

    while True:
        try:
            bench.run(ask, Allowance(records_max=10), workers=1 + (breaks + workers) % 2)
            break
        except (BrokenOff, BytewaxRuntimeError):
            assert breaks in broken, f"seed {seed}"
            breaks += 1
    assert sorted(bench.answered()) == sorted(hard + easy), f"seed {seed}"
    assert breaks, f"seed {seed}"


def test_on_paper_all_is_answered_before_the_run_ends(pool: ThreadPoolExecutor) -> None:
    job = PaperJob(FLOW_ID, {"hard": [batch_of(HARD, ["a", "b"], keys=[b"a", b"b"])]})

    run_main(build_flow(job, answering_in(pool, 0.05)))  # type: ignore[no-untyped-call]

    assert [record["text"] for record in job.records(ANSWERED)] == ["a", "b"]
