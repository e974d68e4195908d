"""A join of two inputs within a window, with two timers an offer: CPU for each input, log to log;
and what a timer costs, and a snapshot, with a million keys held.

Half of the inputs are offers, and of 200,000 users; each offer is closed after an hour, and there
are some hits and corrections. Event time goes 10 hours in all.
"""

import io
import json
from collections.abc import Iterator
from contextlib import closing

import fastavro
import numpy as np

from benchmarks import keyed
from benchmarks.figures import Figure
from benchmarks.join.flow import HOUR_MS, OFFERS, OUTCOMES, PURCHASES
from benchmarks.place import Place
from benchmarks.processes import Progress, flow, running
from streamrec.connectors.log import Outgoing
from streamrec.connectors.making_topics import ensure_topics
from streamrec.dataflows.job.topics import Topic

NAME = "join"
EVENTS = 600_000
US_PER_INPUT_MAX = 5.0
US_PER_TIMER_MAX = 1.0
USERS = 200_000
SPAN_MS = 10 * HOUR_MS
START_MS = 1_767_225_600_000
WARM_UP_SHARE = 0.4
_BATCH = 5_000


def run(place: Place, events: int) -> list[Figure]:
    offers, purchases, outcomes = (_make(place, t) for t in (OFFERS, PURCHASES, OUTCOMES))
    ticks, errors = place.make_topic("ticks", partitions=1), place.make_topic("errors")
    with closing(place.log.writer()) as writer:
        for topic, messages in _messages(place, (offers, purchases), events):
            writer.write(topic, messages)
        writer.flush(120.0)
    environment = place.process_environment(
        offers_topic=offers,
        purchases_topic=purchases,
        outcomes_topic=outcomes,
        errors_topic=errors,
        ticks_topic=ticks,
        consumer_group=outcomes,
        start_from="earliest",
        follow=False,
    )
    with running("join", flow("benchmarks.join.in_kernels"), environment, place.folder) as process:
        progress = Progress(process, place.log, outcomes)
        said = progress.watch(lambda sample: False).done
        process.wait()
    assert said > events // 3, f"{said} outputs of {events} inputs"
    place.delete_topics(offers, purchases, outcomes, ticks, errors)
    # By outputs, which come as inputs do.
    warm_us, wall_us = progress.warm_us(said, WARM_UP_SHARE)
    share = said / events
    name = f"{NAME}.{place.backend}"
    figures = [
        Figure(f"{name}.cpu_warm", warm_us * share, "us CPU/input", US_PER_INPUT_MAX),
        Figure(f"{name}.outputs", share, "outputs/input"),
        Figure(f"{name}.rate", 1e6 / (wall_us * share), "inputs/s"),
    ]
    if place.backend == "embedded":
        rows, costs_us = keyed.at(events, events)
        figures.append(Figure(f"{NAME}.timer", sum(costs_us), "us CPU/timer", US_PER_TIMER_MAX))
        figures += keyed.snapshots(f"{NAME}.keys_{len(rows)}", rows)
    return figures


def _make(place: Place, topic: Topic) -> str:
    name = f"{place.prefix}-{topic.name}-{np.random.default_rng().integers(10**6)}"
    ensure_topics(place.log, [topic.spec(name)], {name: topic.schema})
    return name


def _messages(
    place: Place, topics: tuple[str, str], events: int
) -> Iterator[tuple[str, list[Outgoing]]]:
    """In turns, in order of event time."""
    rng = np.random.default_rng(1)
    schemas = [fastavro.parse_schema(json.loads(t.schema)) for t in (OFFERS, PURCHASES)]
    headers = [b"\0" + place.schema_id(topic).to_bytes(4, "big") for topic in topics]
    for first in range(0, events, 2 * _BATCH):
        count = min(_BATCH, (events - first) // 2)
        for kind, topic in enumerate(topics):
            users = rng.integers(0, USERS, count).tolist()
            times_ms = START_MS + (first + 2 * np.arange(count)) * SPAN_MS // events
            messages = []
            for user, at in zip(users, times_ms.tolist(), strict=True):
                user_id = f"user-{user:06d}"
                own = {"cents": user % 5_000} if kind else {"offer_id": f"offer-{user % 100}"}
                value = {"user_id": user_id, "at": at, **own}
                out = io.BytesIO()
                out.write(headers[kind])
                fastavro.schemaless_writer(out, schemas[kind], value)
                messages.append(Outgoing(user_id.encode(), out.getvalue()))
            yield topic, messages


__all__ = ["EVENTS", "NAME", "run"]
