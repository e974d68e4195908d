"""The scoring path as fast as it goes, against a bare loop with the same client."""

import statistics
from dataclasses import dataclass

from benchmarks.clicks import ClickLoad, fill
from benchmarks.figures import Figure
from benchmarks.place import Place
from benchmarks.processes import Progress, expect_count, flow, running
from streamrec.connectors.log import Log

NAME = "scoring_full_speed"
EVENTS = 2_000_000
ROUNDS = 5
BATCH = 4_000  # messages read in one go, by both
RATIO_MAX = 1.6


@dataclass(frozen=True, slots=True)
class Run:
    whole_us: float  # CPU of the whole process per event
    warm_us: float  # the same once 30 % of the events are done
    events_per_s: float  # of wall time, once warm


def run(place: Place, events: int) -> list[Figure]:
    clicks = place.make_topic("clicks")
    place.say(f"writing {events:,} clicks")
    fill(place, clicks, ClickLoad(events))
    flows: list[Run] = []
    bares: list[Run] = []
    for number in range(ROUNDS):
        # In turns, so that what else the machine does falls on both alike.
        scored, value_bytes = run_flow(place, clicks, events)
        flows.append(scored)
        bares.append(run_bare(place, clicks, events, value_bytes))
        place.say(
            f"round {number + 1} of {ROUNDS}: flow {flows[-1].warm_us:.2f} us, "
            f"bare loop {bares[-1].warm_us:.2f} us of CPU per event, warm"
        )
    place.delete_topics(clicks)
    return [
        Figure(f"{NAME}.ratio_warm", _ratio(flows, bares, "warm_us"), "x", RATIO_MAX),
        Figure(f"{NAME}.ratio_whole", _ratio(flows, bares, "whole_us"), "x"),
        *_figures("flow", flows),
        *_figures("bare", bares),
    ]


def _ratio(flows: list[Run], bares: list[Run], field: str) -> float:
    pairs = zip(flows, bares, strict=True)
    return statistics.median(float(getattr(f, field) / getattr(b, field)) for f, b in pairs)


def _figures(who: str, runs: list[Run]) -> list[Figure]:
    units = {"warm_us": "us CPU/event", "whole_us": "us CPU/event", "events_per_s": "events/s"}
    return [
        Figure(f"{NAME}.{who}_{field}", statistics.median(getattr(r, field) for r in runs), unit)
        for field, unit in units.items()
    ]


def run_flow(place: Place, clicks: str, events: int) -> tuple[Run, int]:
    """Score all clicks; also returns the mean bytes of a score's value."""
    scores, errors = place.make_topic("scores"), place.make_topic("errors")
    environment = place.process_environment(
        clicks_topic=clicks,
        scores_topic=scores,
        errors_topic=errors,
        consumer_group=scores,
        start_from="earliest",
        follow=False,
        batch_messages=BATCH,
    )
    with running("scoring", flow("dataflows.scoring"), environment, place.folder) as process:
        progress = Progress(process, place.log, scores)
        progress.watch(lambda sample: False)
        process.wait()
    expect_count(place.log, scores, events)
    expect_count(place.log, errors, 0)
    value_bytes = mean_value_bytes(place.log, scores)
    place.delete_topics(scores, errors)
    return _run_of(progress, events), value_bytes


def run_bare(place: Place, clicks: str, events: int, value_bytes: int) -> Run:
    out = place.make_topic("scores")
    servers = place.environment["KAFKA_BOOTSTRAP_SERVERS"]
    arguments = [servers, clicks, out, str(events), str(value_bytes), str(BATCH)]
    with running(
        "bare-loop", ["benchmarks.bare_loop", *arguments], place.process_environment(), place.folder
    ) as process:
        progress = Progress(process, place.log, out)
        progress.watch(lambda sample: False)
        process.wait()
    expect_count(place.log, out, events)
    place.delete_topics(out)
    return _run_of(progress, events)


def _run_of(progress: Progress, events: int) -> Run:
    warm_us, wall_us = progress.warm_us(events)
    return Run(progress.process.cpu_s() * 1e6 / events, warm_us, 1e6 / wall_us)


def mean_value_bytes(log: Log, topic: str) -> int:
    """Of the first thousands of a topic's values."""
    reader = log.reader()
    try:
        reader.assign(topic, {0: 0})
        values = [value for batch in reader.poll(10_000, 5.0) for value in batch.values]
    finally:
        reader.close()
    return round(statistics.mean(len(value or b"") for value in values))
