"""A real job that reads a table at its ticks: the same versions in every run.

Expected is what a plain reading of the log says: the prices below a tick's ends.
"""

import io
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import fastavro
import pytest
from bytewax.dataflow import Dataflow
from bytewax.testing import run_main

from streamrec import ERRORS, Job, PaperJob, StartError, Tick, batch_of, decode_records, each_batch
from streamrec.connectors.backend import open_log
from streamrec.connectors.log import Log, Outgoing, RawBatch
from streamrec.connectors.reading import read_all
from streamrec.connectors.ticks.tick import TickCodec
from streamrec.dataflows.engine.leaving import message_of
from streamrec.dataflows.job.opening import open_job_with
from streamrec.dataflows.job.settings import Settings
from streamrec.dataflows.job.ticking import Ticking
from streamrec.dataflows.job.topics import TICKS, make_all
from tests.connectors.tick_feeds import ticks_in
from tests.dataflows.valuing import FLOW_ID, PRICES, SALES, VALUED, build_flow

START_MS = 1_767_225_600_000
SECOND_MS = 1_000
ITEMS = [f"i{number}" for number in range(12)]
ROOT = Path(__file__).parents[2]
Row = dict[str, Any]


class Shop:
    """Sales, prices, and the ticks between them, which it writes itself."""

    def __init__(self, settings: Settings, seed: int) -> None:
        self.settings = settings
        self.log: Log = open_log(settings)
        make_all(self.log, {settings.topic(t): t for t in (SALES, PRICES, VALUED, ERRORS, TICKS)})
        self.codec: TickCodec = Ticking(
            self.log, self.log.registry(), settings, lambda: False
        ).codec
        self.random = random.Random(seed)
        self.now_ms = START_MS
        self.partitions = 2

    def write(self, topic: str, *messages: Outgoing) -> None:
        with closing(self.log.writer()) as writer:
            writer.write(topic, messages)
            writer.flush(30.0)

    def sell(self, count: int) -> None:
        def sale(number: int) -> Outgoing:
            value = {
                "user_id": f"u{self.random.randrange(40)}",
                "item_id": self.random.choice(ITEMS),
                "at": self.now_ms + number,
            }
            partition = self.random.randrange(3)
            return Outgoing(b"", json.dumps(value).encode(), partition=partition)

        self.write(self.settings.topic(SALES), *map(sale, range(count)))

    def price(self, item: str, cents: int | bytes | None) -> None:
        value = cents if isinstance(cents, bytes | None) else json.dumps({"cents": cents}).encode()
        partition = sum(item.encode()) % self.partitions
        self.write(self.settings.topic(PRICES), Outgoing(item.encode(), value, partition=partition))

    def change_prices(self, count: int) -> None:
        """Now and then one is removed, or its value is broken."""
        for _ in range(count):
            cents = self.random.choice([None, b"{broken", *range(100, 1_000, 50)])
            self.price(self.random.choice(ITEMS), cents)

    def tick(self) -> None:
        self.now_ms += SECOND_MS
        names = [self.settings.topic(topic) for topic in (SALES, PRICES)]
        with closing(self.log.admin()) as admin:
            ends = {name: admin.ends(name) for name in names}
        value = self.codec.value(self.now_ms, ends)
        self.write(self.codec.topic, Outgoing(None, value, partition=0))

    def grow(self, partitions: int) -> None:
        with closing(self.log.admin()) as admin:
            admin.add_partitions(self.settings.topic(PRICES), partitions)
        self.partitions = partitions

    def run(self, settings: Settings | None = None) -> None:
        run_main(build_flow(open_job_with(FLOW_ID, settings or self.settings)))  # type: ignore[no-untyped-call]

    def valued(self, topic: str | None = None) -> list[Row]:
        """What came out, in the order of the sales."""
        schema = fastavro.parse_schema(json.loads(VALUED.schema))
        found: list[Row] = []
        for record in read_all(self.log, topic or self.settings.topic(VALUED)):
            assert record.value is not None
            row = fastavro.schemaless_reader(io.BytesIO(record.value[5:]), schema, None)
            assert isinstance(row, dict)
            found.append(row)
        return sorted(found, key=lambda row: (row["source_partition"], row["source_offset"]))

    def expected_cents(self, tick: int, item: str) -> tuple[int, list[int]]:
        """By a plain reading of the log."""
        record = list(read_all(self.log, self.codec.topic))[tick]
        found = self.codec.tick(tick, record.value)
        assert found is not None
        ends = found.ends[self.settings.topic(PRICES)]
        last = {}
        for price in read_all(self.log, self.settings.topic(PRICES)):
            is_before = price.offset < ends.get(price.partition, 0)
            if price.key == item.encode() and is_before and price.value != b"{broken":
                cents = -1 if price.value is None else json.loads(price.value)["cents"]
                last[price.partition] = price.timestamp_ms, price.partition, cents
        return max(last.values(), default=(0, 0, -1))[2], [ends[p] for p in sorted(ends)]

    def check(self, rows: list[Row]) -> None:
        sales = list(read_all(self.log, self.settings.topic(SALES)))
        assert len(rows) == len(sales)
        for row in rows:
            expected = self.expected_cents(row["tick"], row["item_id"])
            assert (row["cents"], row["prices"]) == expected, row
        assert len({tuple(row["prices"]) for row in rows}) > 3
        assert len({row["cents"] for row in rows if row["item_id"] == "i1"}) > 2


@pytest.fixture
def shop(
    job_settings: Callable[..., Settings], topic_name: str, monkeypatch: pytest.MonkeyPatch
) -> Shop:
    for topic in (SALES, PRICES, VALUED):
        monkeypatch.setenv(f"STREAMREC_{topic.name.upper()}_TOPIC", f"{topic_name}-{topic.name}")
    seed = random.randrange(10_000)
    print(f"seed {seed}")  # noqa: T201  # shown when the test fails
    return Shop(job_settings(batch_messages=10), seed)


def fill(shop: Shop, ticks: int = 40, grow_at: int | None = None) -> None:
    """Sales and changes of prices between ticks; at the end time passes until all are called."""
    shop.price("i1", 50)
    for number in range(ticks):
        if number == grow_at:
            shop.grow(5)
        shop.change_prices(shop.random.randrange(6))
        shop.price("i1", 100 + number)
        shop.sell(shop.random.randrange(12))
        shop.tick()
    shop.tick()
    shop.tick()


def elsewhere(shop: Shop, name: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Settings, str]:
    """Settings of a replay that writes to a topic of its own, and its name."""
    topic = f"{shop.settings.topic(VALUED)}-{name}"
    make_all(shop.log, {topic: VALUED})
    monkeypatch.setenv("STREAMREC_VALUED_TOPIC", topic)
    group = f"{shop.settings.consumer_group}-{name}"
    return shop.settings.model_copy(update={"consumer_group": group}), topic


def test_each_sale_has_the_price_of_its_tick_and_a_replay_says_the_same(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(shop)
    shop.run()
    rows = shop.valued()
    shop.check(rows)

    shop.change_prices(50)  # the table goes on
    settings, topic = elsewhere(shop, "v2", monkeypatch)
    shop.run(settings)
    assert shop.valued(topic) == rows


def test_partitions_that_the_table_gets_are_read_from_their_tick_on(shop: Shop) -> None:
    fill(shop, grow_at=20)
    shop.run()
    rows = shop.valued()
    shop.check(rows)
    assert {len(row["prices"]) for row in rows} == {2, 5}


def test_killed_and_started_again_it_sees_the_same_versions(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(shop)
    settings = shop.settings
    environment = {
        **os.environ,
        **{
            f"STREAMREC_{t.setting.upper()}": settings.topic(t)
            for t in (ERRORS, TICKS)
            if t.setting
        },
        "STREAMREC_CONSUMER_GROUP": settings.consumer_group,
        "STREAMREC_FOLLOW": "false",
        "STREAMREC_BATCH_MESSAGES": "10",
        "EMBEDDED_LOG_PATH": str(settings.embedded_log_path),
    }
    command = [sys.executable, "-m", "streamrec", "run", "--flow", "tests.dataflows.valuing"]
    command += ["-r", str(tmp_path / "state"), "-s", "0", "-b", "0"]

    def run(**variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=ROOT,
            env={**environment, **variables},
            capture_output=True,
            text=True,
            timeout=90,
        )

    sales = len(list(read_all(shop.log, settings.topic(SALES))))
    killed = run(VALUING_DIES_AT=str(sales // 2))
    assert killed.returncode == -9, killed.stderr
    # Prices that came meanwhile are behind all ticks that there are.
    shop.change_prices(50)
    shop.price("i1", 9_999)
    done = len(shop.valued())
    assert 0 < done < sales
    resumed = run(VALUING_DIES_AT=str(sales - done // 2))  # it does not begin at the beginning
    assert resumed.returncode == 0, resumed.stderr
    rows = shop.valued()
    shop.check(rows)

    uninterrupted, topic = elsewhere(shop, "v2", monkeypatch)
    shop.run(uninterrupted)
    assert shop.valued(topic) == rows


def test_ticks_that_the_job_writes_hold_the_table(shop: Shop) -> None:
    """A finite run ends with one that covers it."""
    shop.change_prices(20)
    shop.price("i1", 700)
    shop.sell(30)
    shop.run()
    shop.price("i1", 800)
    shop.run()  # no sale is new
    ticks = ticks_in(shop.log, shop.codec)
    with closing(shop.log.admin()) as admin:
        name = shop.settings.topic(PRICES)
        assert ticks[-1].ends[name] == admin.ends(name)
    for row in shop.valued():
        assert (row["cents"], row["prices"]) == shop.expected_cents(row["tick"], row["item_id"])


def test_how_far_the_table_is_counts_in_the_status(shop: Shop) -> None:
    shop.price("i1", 1)
    job = open_job_with("reading", shop.settings)
    table = job.table(PRICES, timed=True)
    assert job.table(PRICES, timed=True) is table
    name = shop.settings.topic(PRICES)
    assert job.report._positions == {(name, ""): {0: 1, 1: 0}}
    assert job.report.line(shop.log).endswith("lag 0")
    shop.price("i1", 2)
    until = time.monotonic() + 20
    while job.report._positions[name, ""] != {0: 2, 1: 0}:
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_timed_table_needs_timed_inputs(shop: Shop) -> None:
    job = open_job_with("one", shop.settings)
    job.table(PRICES, timed=True)
    with pytest.raises(StartError, match=r"expected job.read\(..., timed=True\) beside the timed"):
        job.read(Dataflow("one"), SALES)
    job = open_job_with("two", shop.settings)
    job.read(Dataflow("two"), SALES)
    with pytest.raises(StartError, match="got inputs without ticks"):
        job.table(PRICES, timed=True)


def test_a_table_that_a_step_asks_for_is_refused_in_one_line(shop: Shop) -> None:
    def build(job: Job) -> Dataflow:
        flow = Dataflow("late")
        decode = decode_records(job, SALES, time="at")

        def step(items: list[Any]) -> list[Any]:
            job.table(PRICES, timed=True)
            return []

        raw = job.read(flow, SALES, timed=True)
        sales = each_batch("decode", raw, decode, failing="bad")
        job.write_errors(sales.failed, each_batch("step", sales.good, step, failing="bad2").failed)
        return flow

    shop.sell(3)
    with pytest.raises(RuntimeError) as raised:
        run_main(build(open_job_with("late", shop.settings)))  # type: ignore[no-untyped-call]
    assert message_of(raised.value) == (
        "dataflow 'late' expected job.table('prices', timed=True) in build_flow, got it from a "
        "step that runs"
    )


def test_on_paper_a_table_stands_still() -> None:
    prices = {"i1": {"cents": 7}}
    sales = [{"user_id": "u1", "item_id": item, "at": START_MS} for item in ("i1", "i2")]
    first, second = Tick(1, START_MS, {}), Tick(2, START_MS + SECOND_MS, {})
    given: list[RawBatch | Tick] = [batch_of(SALES, sales), first, second]
    job = PaperJob(FLOW_ID, {"sales": given}, tables={"prices": prices})
    assert job.table(PRICES) is prices
    run_main(build_flow(job))  # type: ignore[no-untyped-call]
    found = [(row["item_id"], row["cents"]) for row in job.records(VALUED)]
    assert found == [("i1", 7), ("i2", -1)]
    assert {PRICES, SALES, TICKS} <= set(job.topics_read)
