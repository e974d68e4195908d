"""A dataflow that answers JSON with JSON, for each name of a list, as one that serves models does.

It runs in this process, on the log of a test, and is broken off as by a kill: what was written
stays, and nothing more is saved.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
from bytewax.dataflow import Dataflow
from bytewax.recovery import RecoveryConfig
from bytewax.testing import cluster_main

from streamrec.connectors.log import Log, Outgoing, RawBatch, Record
from streamrec.connectors.making_topics import ensure_topics
from streamrec.connectors.reading import read_all
from streamrec.connectors.shared_log import SharedLog
from streamrec.dataflows.engine.recovery import prepare_recovery_directory
from streamrec.dataflows.errors.failed import Origins
from streamrec.dataflows.job.encoding import Records
from streamrec.dataflows.job.job import Job
from streamrec.dataflows.job.parts import each_batch
from streamrec.dataflows.job.saved_state import state_directory
from streamrec.dataflows.job.settings import Settings
from streamrec.dataflows.job.topics import Topic, errors_topic, redrives_of, schemas_of
from streamrec.dataflows.steps.records import RecordBatch
from streamrec.schemas.columns import strings
from streamrec.schemas.reasons import Reason
from streamrec.schemas.row_values import JsonRows

FLOW_ID = "named"
PARTITIONS = 2


class BrokenOff(Exception):
    """As a kill, in the middle of an epoch."""


class Named:
    """The topics of one name."""

    def __init__(self, name: str) -> None:
        own: dict[str, Any] = {"partitions": PARTITIONS, "named_by_setting": False}
        self.step = name.replace(".", ":")  # the engine takes no dots
        self.inputs = Topic(f"{name}.inputs", format="json", **own)
        self.outputs = Topic(f"{name}.outputs", format="json", answers="headers", **own)
        self.errors = errors_topic(f"{name}.errors", partitions=PARTITIONS)

    def topics(self) -> dict[str, Topic]:
        found = (self.inputs, self.outputs, self.errors, redrives_of(self.errors))
        return {topic.name: topic for topic in found}


def make_topics(log: Log, *models: Named) -> None:
    for model in models:
        topics = model.topics()
        specs = [topic.spec(name) for name, topic in topics.items()]
        ensure_topics(log, specs, schemas_of(topics))


def send(log: Log, model: Named, values: Sequence[Any]) -> None:
    """Each with a key, but for every fifth, a header and a time of its own."""
    messages = [
        Outgoing(
            None if n % 5 == 4 else f"k{n}".encode(),
            value if isinstance(value, bytes) else json.dumps(value).encode(),
            [("trace", f"t{n}".encode()), ("streamrec-source", b"elsewhere/0/1")],
            1_700_000_000_000 + n,
            n % PARTITIONS,
        )
        for n, value in enumerate(values)
    ]
    with closing(log.writer()) as writer:
        writer.write(model.inputs.name, messages)


def decode(batches: Sequence[RawBatch]) -> Iterator[Any]:
    """Values that say `fail` are errors; the others go on, with what they came with."""
    for batch in batches:
        n = len(batch)
        origins = Origins([batch])
        rows = np.arange(n)
        records = RecordBatch(
            batch.topic, origins, rows, {}, strings([b""] * n), batch.times_ms,
            np.full(n, batch.partition), batch.offsets, JsonRows(),
        )  # fmt: skip
        good = []
        for row, value in enumerate(batch.values):
            if value == b'"fail"':
                yield records.fail(row, Reason.INVALID_VALUE, "expected to be good, got fail")
            else:
                good.append(row)
        yield records, np.array(good, np.int64)


def build_flow(
    job: Job,
    models: Sequence[Named],
    break_after: int | None = None,
    on_answer: Callable[[], object] = lambda: None,
) -> Dataflow:
    """`break_after`: so many were encoded, of all models."""
    flow = Dataflow(FLOW_ID)
    streams = [(model, job.read(flow, model.inputs)) for model in models]
    seen = 0

    def answers(items: Sequence[tuple[RecordBatch, Any]]) -> Iterator[Records]:
        nonlocal seen
        for batch, rows in items:
            if break_after is not None and seen >= break_after:
                raise BrokenOff
            seen += len(rows)
            on_answer()
            originals = batch.origins.originals(rows)
            yield Records(
                {},
                batch,
                rows,
                keys=[detail.key for _, detail in originals],
                values=[b'{"of":%b}' % (value or b"") for value, _ in originals],
                headers=[detail.headers for _, detail in originals],
                times_ms=batch.times_ms[rows],
            )

    for model, stream in streams:
        parts = each_batch(f"decode {model.step}", stream, decode, failing=f"bad {model.step}")
        unencodable = job.write(
            parts.good, model.outputs, answers, failing=f"large {model.step}", group=model.step
        )
        job.write_errors(parts.failed, unencodable, topic=model.errors, group=model.step)
    return flow


def run(
    log: Log,
    settings: Settings,
    recovery: Path,
    models: Sequence[Named],
    break_after: int | None = None,
    epoch: timedelta = timedelta(seconds=30),
    workers: int = 1,
    on_answer: Callable[[], object] = lambda: None,
) -> Job:
    """To the end of the inputs, or until it is broken off."""
    durable_epoch = prepare_recovery_directory(state_directory(settings))
    job = Job(FLOW_ID, settings, SharedLog(log), durable_epoch=durable_epoch, inputs_change=True)
    flow = build_flow(job, models, break_after, on_answer)
    config = RecoveryConfig(str(recovery))  # type: ignore[no-untyped-call]  # native
    try:
        cluster_main(  # type: ignore[no-untyped-call]  # bytewax leaves it so
            flow, [], 0, epoch_interval=epoch, recovery_config=config, worker_count_per_proc=workers
        )
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, BrokenOff):
            cause = cause.__cause__
        if cause is None:
            raise
    return job


def outputs(log: Log, model: Named) -> list[Record]:
    return list(read_all(log, model.outputs.name))


def answered(log: Log, model: Named) -> list[bytes]:
    """The places of the inputs that have outputs, sorted; each as often as it has."""
    found = [dict(record.headers).get("streamrec-source") for record in outputs(log, model)]
    return sorted(place for place in found if place is not None)


def places(model: Named, count: int) -> list[bytes]:
    """Of the first inputs of a model."""
    topic = model.inputs.name
    return sorted(f"{topic}/{n % PARTITIONS}/{n // PARTITIONS}".encode() for n in range(count))
