"""A dataflow over two inputs with timers: what comes out is what a plain program says, however the
records and the ticks happen to be read."""

import io
import json
import random
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa
import pytest

from benchmarks.join.flow import FLOW_ID, OFFERS, OUTCOMES, PURCHASES, Offers, build_flow
from benchmarks.place import Place, embedded_place
from streamrec import PaperJob, batch_of
from streamrec.connectors.batch_part import part
from streamrec.connectors.log import Outgoing, RawBatch
from streamrec.connectors.ticks.tick import LaneTick
from streamrec.dataflows.engine.supervisor import Cluster, ClusterOptions
from streamrec.dataflows.errors.failed import Failed
from streamrec.dataflows.job.paper import SCHEMA_ID
from streamrec.dataflows.job.topics import ERRORS, Topic
from streamrec.dataflows.steps.decode_records import decode_records
from streamrec.dataflows.steps.held import Output
from streamrec.dataflows.steps.records import ShardRecords, ShardTicks
from streamrec.dataflows.steps.rules import Between
from tests.dataflows.hurried_join import LATE_MS
from tests.proofs import chaos
from tests.proofs.chaos_check import ChaosVerdict, Message, compare, decoder, read_topic
from tests.proofs.chaos_join import MODULE, TICK_S, JoinTopics, JoinVerdict, judge_join
from tests.proofs.chaos_run import run_to_the_end
from tests.proofs.join_feed import START_MS, outgoing
from tests.proofs.join_plain import (
    SHARDS,
    Decode,
    Input,
    Outputs,
    PlainTick,
    outcomes_of,
    partition_of,
    plain_join,
)

SEED = 5
EVENTS = 5_000
KINDS = {
    *("hit", "closed", "correction"),
    *("too_late", "invalid_value", "not_wire_format", "undecodable"),
}
ANSWERED_S = 60.0
HURRIED = "tests.dataflows.hurried_join"

pytestmark = pytest.mark.timeout(400)

Records = list[list[Outgoing]]  # of offers, and of purchases


def by_input(records: Iterable[tuple[int, Outgoing]]) -> Records:
    found: Records = [[], []]
    for number, record in records:
        found[number].append(record)
    return found


def write(place: Place, topics: JoinTopics, records: Records) -> None:
    with closing(place.log.writer()) as writer:
        for topic, own in zip(topics.inputs, records, strict=True):
            writer.write(topic, own)
        writer.flush(30.0)


def schema_ids(place: Place, topics: JoinTopics) -> list[int]:
    return [place.schema_id(topic) for topic in topics.inputs]


def encoded(topic: Topic, schema_id: int, value: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    out.write(b"\0" + schema_id.to_bytes(4, "big"))
    fastavro.schemaless_writer(out, fastavro.parse_schema(json.loads(topic.schema)), value)
    return out.getvalue()


def decode_of(topic: Topic) -> Decode:
    schema = fastavro.parse_schema(json.loads(topic.schema))
    return lambda value: fastavro.schemaless_reader(io.BytesIO(value[5:]), schema, None)


def assert_as_the_plain_program_says(found: JoinVerdict) -> None:
    verdict = found.verdict
    assert verdict.good, "\n".join(verdict.offenders)
    assert verdict.outputs + verdict.errors == found.kinds.total()


def other_outputs(place: Place, topics: JoinTopics) -> JoinTopics:
    outcomes, errors = (place.make_topic(row.name, schema=row.schema) for row in (OUTCOMES, ERRORS))
    return topics._replace(outcomes=outcomes, errors=errors)


def run_once(place: Place, topics: JoinTopics, group: str, module: str = MODULE) -> None:
    """Over what there is, to its end."""
    settings = {**topics.settings(), "consumer_group": group, "follow": "false"}
    environment = place.process_environment(**settings)
    run_to_the_end(module, environment, place.folder / f"{group}.log")


def test_outcomes_are_those_of_a_plain_program_and_a_replay_has_them_again(tmp_path: Path) -> None:
    place = embedded_place(tmp_path, lambda text: None)
    topics = JoinTopics.make(place)
    write(place, topics, by_input(outgoing(SEED, EVENTS, schema_ids(place, topics))))

    run_once(place, topics, "first")
    found = judge_join(place, topics, committed_only=False)
    assert_as_the_plain_program_says(found)
    assert found.verdict.inputs == EVENTS
    assert set(found.kinds) == KINDS

    again = other_outputs(place, topics)
    run_once(place, again, "again")
    assert_as_the_plain_program_says(judge_join(place, again, committed_only=False))


@pytest.mark.slow
def test_killed_and_rescaled_it_loses_repeats_and_changes_nothing(tmp_path: Path) -> None:
    options = ["--kills=3", "--events=12000", "--flow=join", f"--seed={SEED}"]

    assert chaos.main(["--backend=embedded", f"--folder={tmp_path}", *options]) == 0


def test_a_quiet_input_ends_its_delay_by_itself_and_a_replay_with_the_ticks_says_the_same(
    tmp_path: Path,
) -> None:
    place = embedded_place(tmp_path, lambda text: None)
    topics = JoinTopics.make(place)
    flags = ["-r", str(tmp_path / "recovery"), "-s", "1", "-b", "0"]
    environment = place.process_environment(**topics.settings(), consumer_group="quiet")
    cluster = Cluster(ClusterOptions(HURRIED, flags, 1, 1, environment, tmp_path))
    cluster.start()
    try:
        # The first one tells that all has begun; the second one is a hit of both offers.
        buy(place, topics, "o1", START_MS)
        await_outcomes(place, topics, cluster, 1)
        buy(place, topics, "o2", START_MS + 60_000)
        await_outcomes(place, topics, cluster, 3)
        assert cluster.stop()
    finally:
        cluster.end(0.0)

    bought_ms = [each.timestamp_ms for each in read_topic(place, topics.purchases, False)]
    said_ms = [each.timestamp_ms for each in read_topic(place, topics.outcomes, False)]
    delay_ms = said_ms[-1] - bought_ms[-1]
    # Until the tick that brings it, then its delay, then to the next tick; and a slow machine.
    assert LATE_MS - 50 <= delay_ms <= LATE_MS + 2 * 1_000 * TICK_S + 2_000

    again = other_outputs(place, topics)
    run_once(place, again, "quiet-again", HURRIED)
    first, second = outcomes(place, topics), outcomes(place, again)
    assert first == second
    assert sorted(first.values()) == [("o1", 1, 5), ("o1", 2, 10), ("o2", 1, 5)]


def buy(place: Place, topics: JoinTopics, offer: str, at_ms: int) -> None:
    """An offer, and what its user bought at once."""
    ids = schema_ids(place, topics)
    offered = encoded(OFFERS, ids[0], {"user_id": "u1", "offer_id": offer, "at": at_ms})
    bought = encoded(PURCHASES, ids[1], {"user_id": "u1", "cents": 5, "at": at_ms})
    write(place, topics, [[Outgoing(b"u1", offered)], [Outgoing(b"u1", bought)]])


def await_outcomes(place: Place, topics: JoinTopics, cluster: Cluster, count: int) -> None:
    give_up_s = time.monotonic() + ANSWERED_S
    while len(list(read_topic(place, topics.outcomes, False))) < count:
        logs = "\n".join(log.read_text() for log in place.folder.glob("process-*.log"))
        assert not cluster.failed() and time.monotonic() < give_up_s, logs
        time.sleep(0.05)


def outcomes(place: Place, topics: JoinTopics) -> dict[Any, tuple[str, int, int]]:
    """By what each is, which offer it is about, how many purchases, and what they came to."""
    with decoder(place, topics.outcomes, OUTCOMES.schema) as decode:
        found = outcomes_of(read_topic(place, topics.outcomes, False), decode)
        return {each: (o["offer_id"], o["count"], o["cents"]) for each, o in found}


def test_outcomes_do_not_depend_on_how_records_and_ticks_are_read_nor_on_stops() -> None:
    seed = random.SystemRandom().randrange(1_000_000)
    load = Load(seed)
    expected = load.expected()
    assert {"hit", "closed", "correction", "too_late"} <= set(expected.kinds), f"seed {seed}"
    reasons = {each: error["reason"] for each, error in expected.errors.items()}
    names = ("user_id", "offer_id", "count", "cents")
    wanted = {each: [o[n] for n in names] for each, o in expected.outcomes.items()}
    orders = []
    for turn in range(50):
        said, failed = load.read_in_any_way(random.Random(f"{seed}-{turn}"))
        verdict = ChaosVerdict(0, 0, 0)
        outputs = [each for of_shard in said for each in of_shard]
        compare(verdict, wanted, ((_identity(o), [o.fields[n] for n in names]) for o in outputs))
        compare(verdict, reasons, ((_error(each), each.reason) for each in failed))
        assert verdict.good, "\n".join([f"seed {seed}, turn {turn}", *verdict.offenders])
        orders.append([[_identity(each) for each in of_shard] for of_shard in said])
    assert all(order == orders[0] for order in orders), f"seed {seed}"


def _identity(output: Output) -> tuple[Any, ...]:
    record = output.record
    return (record.topic, record.partition, record.offset, output.kind, output.number)


def _error(failed: Failed) -> tuple[Any, ...]:
    return (failed.topic, failed.partition, failed.offset, failed.kind, failed.number)


class Load:
    """Records and ticks that follow from a seed."""

    topics = (OFFERS, PURCHASES)

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self._records: dict[tuple[int, int], list[Outgoing]] = {
            (number, p): [] for number in range(2) for p in range(SHARDS)
        }
        numbers: dict[tuple[int, int], list[int]] = {place: [] for place in self._records}
        events = 600
        load = outgoing(seed, events, [SCHEMA_ID, SCHEMA_ID], step_ms=20_000, wrong_clocks=0.03)
        for count, (number, record) in enumerate(load):
            assert record.key is not None
            p = partition_of(record.key, SHARDS) if record.partition is None else record.partition
            self._records[number, p].append(record)
            numbers[number, p].append(count)
        self.ticks = list(self._make_ticks(numbers, events))

    def _make_ticks(
        self, numbers: dict[tuple[int, int], list[int]], events: int
    ) -> Iterator[PlainTick]:
        """Partitions are not quite abreast, and a writer that had hung comes with an old time."""
        rng = self._rng
        ends = dict.fromkeys(numbers, 0)
        now_ms = START_MS
        for at in [*sorted(rng.sample(range(events), 15)), events + 100, events + 100]:
            for place, own in numbers.items():
                reached = at + rng.randrange(-40, 40)
                ends[place] = max(ends[place], sum(each < reached for each in own))
            now_ms += rng.randrange(3_000)
            time_ms = now_ms - rng.choice((0, 0, 5_000))
            yield PlainTick(
                time_ms,
                {
                    topic.name: [ends[number, p] for p in range(SHARDS)]
                    for number, topic in enumerate(self.topics)
                },
            )

    def expected(self) -> Outputs:
        inputs = [
            Input(
                topic.name,
                "",
                [
                    Message(p, offset, record.key, record.value)
                    for p in range(SHARDS)
                    for offset, record in enumerate(self._records[number, p])
                ],
                decode_of(topic),
            )
            for number, topic in enumerate(self.topics)
        ]
        return plain_join(inputs, self.ticks)

    def read_in_any_way(self, rng: random.Random) -> tuple[list[list[Output]], list[Failed]]:
        """What each shard says, in order, and what fails anywhere: lanes and topics come in any
        order and in pieces of any size, and shards are saved and restored at any moment."""
        job = PaperJob(FLOW_ID)
        build_flow(job)
        decode = [
            decode_records(job, OFFERS),
            decode_records(job, PURCHASES, rules=(Between("cents", 0, 10**9),)),
        ]
        lanes = [[self._lane(rng, number, p) for p in range(SHARDS)] for number in range(2)]
        shards = [SavedShard(job) for _ in range(SHARDS)]
        names: dict[str, int] = {}
        failed: list[Failed] = []
        while any(lane for of_topic in lanes for lane in of_topic):
            number = rng.randrange(2)
            items: list[RawBatch | LaneTick] = []
            for lane in rng.sample(lanes[number], rng.randrange(1, SHARDS + 1)):
                items += [lane.pop(0) for _ in range(min(len(lane), rng.randrange(8)))]
            come: dict[int, list[ShardRecords | ShardTicks]] = {}
            for each in decode[number](items):
                if isinstance(each, Failed):
                    failed.append(each)
                else:
                    come.setdefault(names.setdefault(each.shard, len(names)), []).append(each)
            for shard, of_shard in come.items():
                shards[shard].update(of_shard)
                if rng.random() < 0.02:
                    shards[shard].stop_and_go_on(whole=rng.random() < 0.3)
        of_name = {name: shards[number] for name, number in names.items()}
        ordered = [of_name[name] for name in sorted(of_name)]
        failed += [each for shard in ordered for each in shard.said if isinstance(each, Failed)]
        return [[e for e in shard.said if isinstance(e, Output)] for shard in ordered], failed

    def _lane(self, rng: random.Random, number: int, p: int) -> list[RawBatch | LaneTick]:
        """Records up to a tick in pieces, the tick, and so on."""
        topic, records = self.topics[number], self._records[number, p]
        values, keys = [record.value for record in records], [record.key for record in records]
        whole = batch_of(topic, values, p, keys=keys)
        found: list[RawBatch | LaneTick] = []
        done = 0
        for tick_number, tick in enumerate(self.ticks):
            end = tick.ends[topic.name][p]
            while done < end:
                stop = rng.randrange(done + 1, end + 1)
                found.append(part(whole, done, stop))
                done = stop
            found.append(LaneTick(topic.name, p, tick_number, tick.time_ms))
        return found


class SavedShard:
    """A shard that can be stopped, and goes on from what it had saved."""

    def __init__(self, job: PaperJob) -> None:
        self._job = job
        self._logic = Offers(job)
        self._tables: list[pa.Table] = []
        self.said: list[Any] = []

    def update(self, items: list[ShardRecords | ShardTicks]) -> None:
        self.said += self._logic.update(items)

    def stop_and_go_on(self, whole: bool) -> None:
        table, facts = self._logic.changed(whole)
        self._tables = [table] if whole else [*self._tables, table]
        self._logic = Offers(self._job)
        self._logic.restore(self._tables, json.loads(json.dumps(facts)))


def test_chaos_refuses_what_the_join_does_not_have(capsys: pytest.CaptureFixture[str]) -> None:
    for given, told in (
        (["--model=none"], "--model expected --flow recommender or scoring, got join"),
        (["--events=10"], "--events expected at least 48 of join, got 10"),
    ):
        with pytest.raises(SystemExit):
            chaos.main(["--flow=join", *given])
        assert told in capsys.readouterr().err
