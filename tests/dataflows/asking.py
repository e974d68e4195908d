"""Questions answered at once, beside some that are answered later: a dataflow of the tests.

easy ─▶ decode ─▶ say ───────┐
hard ─▶ decode ─▶ ask ───────┴─▶ answered, errors
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import bytewax.operators as op
import numpy as np
from bytewax.dataflow import Dataflow

from streamrec import (
    Job,
    Numbers,
    Reason,
    Records,
    ShardRecords,
    Topic,
    decode_records,
    each_batch,
    strings,
)
from streamrec.connectors.allowance import Allowance
from streamrec.connectors.backend import open_log
from streamrec.connectors.log import Log, Outgoing
from streamrec.dataflows.job.later import Ask
from streamrec.dataflows.job.parts import answer_later
from streamrec.dataflows.job.settings import Settings
from streamrec.dataflows.job.topics import ERRORS, make_all
from streamrec.schemas.columns import Columns

FLOW_ID = "asking"
EASY = Topic("easy", format="json", partitions=2)
HARD = Topic("hard", format="json", partitions=3)
ANSWERED = Topic(
    "answered",
    Path(__file__).with_name("answered.avsc"),
    "key",
    partitions=2,
    answers=("source_partition", "source_offset", "source_topic"),
)
TOPICS = (EASY, HARD, ANSWERED, ERRORS)

Said = tuple[ShardRecords, list[str]]  # a text for each row


def said(part: ShardRecords, say: Callable[[Any], str | None] = str) -> list[Any]:
    """What comes of some questions: a text for each, and what is None failed."""
    texts = {row: say(value) for row, value in part}
    good = np.array([row for row, text in texts.items() if text is not None], np.int64)
    answered = (
        ShardRecords(part.shard, part.batch, good),
        [text for text in texts.values() if text is not None],
    )
    failed = [
        part.batch.fail(row, Reason.MODEL_FAILED, "model expected to answer, got nothing")
        for row, text in texts.items()
        if text is None
    ]
    return [answered, *failed] if len(good) else failed


def columns_of(items: list[Said]) -> Iterator[Records]:
    for part, texts in items:
        batch, rows = part.batch, part.rows
        places = batch.places(rows)
        keys = [batch.keys.bytes_at(row).decode() for row in rows.tolist()]
        columns: Columns = {"key": strings(keys), "text": strings(texts)}
        columns["source_partition"] = Numbers(places[:, 0].astype(np.int32))
        columns["source_offset"] = Numbers(places[:, 1])
        columns["source_topic"] = strings([batch.topic] * len(rows))
        yield Records(columns, batch, rows)


def build_flow(
    job: Job,
    ask: Ask,
    allowance: Allowance | None = None,
    say: Callable[[Any], str | None] = str,
) -> Dataflow:
    """Wire the picture above."""
    flow = Dataflow(FLOW_ID)

    def say_all(parts: list[ShardRecords]) -> Iterable[Any]:
        return [each for part in parts for each in said(part, say)]

    easy = each_batch("read easy", job.read(flow, EASY), decode_records(job, EASY), failing="bad")
    decode = decode_records(job, HARD)
    raw = job.read(flow, HARD, allowance=allowance)
    hard = each_batch("read hard", raw, decode, failing="bad hard")
    at_once = each_batch("say", easy.good, say_all, failing="unsaid")
    later = answer_later("ask", hard.good, job.later(ask, decode), failing="unanswered")
    job.write(op.merge("all", at_once.good, later.good), ANSWERED, columns_of)
    job.write_errors(easy.failed, hard.failed, at_once.failed, later.failed)
    return flow


def make_topics(settings: Settings) -> Log:
    log = open_log(settings)
    make_all(log, {settings.topic(topic): topic for topic in TOPICS})
    return log


def send(log: Log, topic: str, texts: Iterable[str]) -> None:
    """Each is its own key."""
    with closing(log.writer()) as writer:
        writer.write(topic, [Outgoing(text.encode(), f'"{text}"'.encode()) for text in texts])
        writer.flush(30.0)
