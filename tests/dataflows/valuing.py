"""Sales with the price at their tick: a dataflow of the tests, with a timed table.

sales ─▶ decode ─▶ value ─▶ valued, errors
            prices ──┘
"""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

from bytewax.dataflow import Dataflow

from streamrec import (
    InEventTime,
    Job,
    Output,
    TimedRecord,
    Topic,
    by_shard,
    decode_records,
    each_batch,
    open_job,
    outputs_of,
)
from streamrec.connectors.ticks.timed_table import TimedTable
from streamrec.dataflows.job.topics import TABLE_CONFIGS

FLOW_ID = "valuing"
SALES = Topic("sales", format="json", key_field="user_id", partitions=3)
PRICES = Topic("prices", format="json", partitions=2, configs=TABLE_CONFIGS)
VALUED = Topic(
    "valued",
    Path(__file__).with_name("valued.avsc"),
    "user_id",
    answers=("source_partition", "source_offset"),
)

_dies_at = int(os.environ.get("VALUING_DIES_AT", "0"))  # the sale at which it is killed


class Value(InEventTime):
    def __init__(self, job: Job, prices: TimedTable) -> None:
        super().__init__(job, late_ms=0)
        self.prices = prices.at_tick_of(self)

    def on_record(self, record: TimedRecord) -> Iterator[Output]:
        global _dies_at
        _dies_at -= 1
        if _dies_at == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        item = record.value["item_id"]
        yield record.output(
            VALUED,
            user_id=record.key,
            item_id=item,
            cents=self.prices.get(item, {"cents": -1})["cents"],
            tick=self.tick,
            prices=self.prices.version(),
        )


def build_flow(job: Job) -> Dataflow:
    """Wire the picture above."""
    flow = Dataflow(FLOW_ID)
    prices = job.table(PRICES, timed=True)
    sales = each_batch(
        "decode",
        job.read(flow, SALES, timed=True),
        decode_records(job, SALES, time="at"),
        failing="bad",
    )
    valued = by_shard("value", sales.good, job.keep(lambda: Value(job, prices)), failing="late")
    unencodable = job.write(valued.good, VALUED, outputs_of(job, VALUED), failing="unencodable")
    job.write_errors(sales.failed, valued.failed, unencodable)
    return flow


def flow() -> Dataflow:
    """On real connectors, as the settings say."""
    return build_flow(open_job(FLOW_ID))
