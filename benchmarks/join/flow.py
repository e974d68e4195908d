"""Offers joined with what their users bought within an hour.

    offers ────┐
               ├── join ── outcomes
    purchases ─┘    └───── errors

A purchase within an hour of offers to its user is a `hit` of each of them. When its hour is over an
offer is `closed`, with the count and the sum of its hits. A purchase in the hour after that is a
`correction`, numbered, of each such offer.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from typing_extensions import override

from streamrec.dataflows.errors.failed import Failed
from streamrec.dataflows.job.encoding import ColumnsOf
from streamrec.dataflows.job.job import Job
from streamrec.dataflows.job.opening import open_job
from streamrec.dataflows.job.parts import by_shard, each_batch
from streamrec.dataflows.job.topics import Topic
from streamrec.dataflows.steps.decode_records import decode_records
from streamrec.dataflows.steps.held import Output, TimedRecord, Timer
from streamrec.dataflows.steps.in_time import InEventTime
from streamrec.dataflows.steps.outputs import outputs_of
from streamrec.dataflows.steps.rules import Between, TextLength
from streamrec.dataflows.steps.timed_rows import TimedRows

FLOW_ID = "join"
HOUR_MS = 3_600_000
_HERE = Path(__file__).parent

OFFERS = Topic("offers", _HERE / "offers.avsc", "user_id")
PURCHASES = Topic("purchases", _HERE / "purchases.avsc", "user_id")
OUTCOMES = Topic(
    "outcomes",
    _HERE / "outcomes.avsc",
    "user_id",
    answers=(
        "source_partition",
        "source_offset",
        "source_topic",
        "dataflow",
        "kind",
        "number",
    ),
)
TOPICS = (OFFERS, PURCHASES, OUTCOMES)


class Offers(InEventTime):
    """By user, the offers of the last two hours: [partition, offset, offer, time, count, cents,
    corrections]."""

    @override
    def on_record(self, record: TimedRecord) -> Iterator[Output | Failed]:
        offers: list[list[Any]] = self.values.get(record.key, [])
        if record.source is OFFERS:
            place = [record.partition, record.offset, record.value["offer_id"], record.time_ms]
            self.values.put(record.key, [*offers, [*place, 0, 0, 0]])
            self.call(record, record.time_ms + HOUR_MS, "close")
            self.call(record, record.time_ms + 2 * HOUR_MS, "forget")
            return
        hits = 0
        for offer in offers:
            offer[4] += 1
            offer[5] += record.value["cents"]
            if record.time_ms <= offer[3] + HOUR_MS:
                yield record.output(OUTCOMES, "hit", hits, **_fields(record, offer))
                hits += 1
            else:
                earlier = self.earlier(OFFERS, offer[0], offer[1], record.key)
                yield earlier.output(OUTCOMES, "correction", offer[6], **_fields(record, offer))
                offer[6] += 1
        if offers:
            self.values.put(record.key, offers)

    @override
    def on_timer(self, timer: Timer) -> Iterator[Output | Failed]:
        record = timer.record
        offers = self.values.get(record.key, [])
        own = [record.partition, record.offset]
        offer = next(offer for offer in offers if offer[:2] == own)
        if timer.name == "close":
            yield record.output(OUTCOMES, "closed", **_fields(record, offer))
        elif len(offers) > 1:
            self.values.put(record.key, [other for other in offers if other is not offer])
        else:
            self.values.remove(record.key)


def _fields(record: TimedRecord, offer: list[Any]) -> dict[str, Any]:
    return {"user_id": record.key, "offer_id": offer[2], "count": offer[4], "cents": offer[5]}


def build_flow(
    job: Job, step: type[TimedRows] = Offers, columns_of: ColumnsOf | None = None
) -> Dataflow:
    """Wire the picture above. Another step says the same in another way (`join.in_kernels`)."""
    flow = Dataflow(FLOW_ID)
    rules = (TextLength("user_id", 1, 100),)
    offers = each_batch(
        "decode offers",
        job.read(flow, OFFERS, timed=True),
        decode_records(job, OFFERS, rules=rules),
        failing="bad offers",
    )
    purchases = each_batch(
        "decode purchases",
        job.read(flow, PURCHASES, timed=True),
        decode_records(job, PURCHASES, rules=(*rules, Between("cents", 0, 10**9))),
        failing="bad purchases",
    )
    both = op.merge("both", offers.good, purchases.good)
    joined = by_shard("join", both, job.keep(lambda: step(job)), failing="late")
    columns_of = columns_of or outputs_of(job, OUTCOMES)
    unencodable = job.write(joined.good, OUTCOMES, columns_of, failing="unencodable")
    job.write_errors(offers.failed, purchases.failed, joined.failed, unencodable)
    return flow


def flow() -> Dataflow:
    """The join on real connectors, as the settings say."""
    return build_flow(open_job(FLOW_ID))
