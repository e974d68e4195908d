"""The scoring path with a million users held: CPU for each event against a thousand users, what
recovery adds to it, and how long a restart takes until its first output.

Users come once each before anything counts, all within the longest window, so that none is dropped.
"""

import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from benchmarks.clicks import START_MS, ClickLoad, fill
from benchmarks.figures import Figure
from benchmarks.place import Place
from benchmarks.processes import Progress, expect_count, flow, recovering, running
from benchmarks.scoring_paced import scoring_environment
from streamrec.models.users.features import HOUR_MS

NAME = "many_users"
EVENTS = 1_000_000  # that count; as many come before
ROUNDS = 3
FEW, MANY_PER_EVENT = 1_000, 1.0
EPOCH_S = 2
CPU_RATIO_MAX = 1.3
RESUME_S_MAX = 10.0
_AFTER = 1_000  # clicks that a restart finds
_FIRST_PART_HOURS, _SECOND_PART_HOURS = 0.3, 0.5


def run(place: Place, events: int) -> list[Figure]:
    many = int(events * MANY_PER_EVENT)
    few_topic, many_topic = (fill_twice(place, events, users) for users in (FEW, many))
    at_few: list[float] = []
    at_many: list[float] = []
    with_recovery: list[float] = []
    with tempfile.TemporaryDirectory(dir=place.folder) as folder:
        for number in range(ROUNDS):
            # In turns, so that what else the machine does falls on all alike.
            recovery = Path(folder) / str(number)
            at_few.append(cpu_of(place, few_topic, events, None)[0])
            at_many.append(cpu_of(place, many_topic, events, None)[0])
            recovering_us, environment = cpu_of(place, many_topic, events, recovery)
            with_recovery.append(recovering_us)
        resume_s = resume(place, many_topic, recovery, environment, many)
    place.delete_topics(few_topic, many_topic)
    few_us, many_us = statistics.median(at_few), statistics.median(at_many)
    return [
        Figure(f"{NAME}.ratio_{many}_to_{FEW}", _ratio(at_many, at_few), "x", CPU_RATIO_MAX),
        Figure(f"{NAME}.cpu_at_{FEW}", few_us, "us CPU/event"),
        Figure(f"{NAME}.cpu_at_{many}", many_us, "us CPU/event"),
        Figure(f"{NAME}.recovery_ratio", _ratio(with_recovery, at_many), "x"),
        Figure(f"{NAME}.resume", resume_s, "s", RESUME_S_MAX),
    ]


def _ratio(ones: list[float], others: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(ones, others, strict=True))


def fill_twice(place: Place, events: int, users: int) -> str:
    """A topic in which users come in turn, then at random, `events` clicks each time."""
    clicks = place.make_topic("clicks")
    load = ClickLoad(events, users, _FIRST_PART_HOURS, in_turn=True)
    fill(place, clicks, load)
    start_ms = START_MS + int(_FIRST_PART_HOURS * HOUR_MS)
    second = replace(load, hours=_SECOND_PART_HOURS, start_ms=start_ms, in_turn=False)
    fill(place, clicks, second)
    return clicks


def cpu_of(
    place: Place, clicks: str, events: int, recovery: Path | None
) -> tuple[float, dict[str, str]]:
    """CPU per event of the second part in us, and the variables of the run."""
    scores, errors = place.make_topic("scores"), place.make_topic("errors")
    environment = scoring_environment(place, clicks, scores, errors, follow=False)
    arguments = (
        flow("dataflows.scoring")
        if recovery is None
        else recovering("dataflows.scoring", recovery, EPOCH_S)
    )
    with running("many-users", arguments, environment, place.folder) as process:
        progress = Progress(process, place.log, scores)
        progress.watch(lambda sample: False)
        process.wait()
    expect_count(place.log, scores, 2 * events)
    return progress.warm_us(2 * events, warm_up_share=0.55)[0], environment


def resume(
    place: Place, clicks: str, recovery: Path, environment: dict[str, str], users: int
) -> float:
    """Seconds from the start of the process to its first output."""
    start_ms = START_MS + int((_FIRST_PART_HOURS + _SECOND_PART_HOURS) * HOUR_MS)
    fill(place, clicks, ClickLoad(_AFTER, users, 0.01, start_ms=start_ms))
    scores = environment["STREAMREC_SCORES_TOPIC"]
    started = time.monotonic()
    arguments = recovering("dataflows.scoring", recovery, EPOCH_S)
    with running("resumed", arguments, environment, place.folder) as process:
        progress = Progress(process, place.log, scores)
        before = progress.watch(lambda sample: True).done
        first = progress.watch(lambda sample: sample.done > before)
        process.wait()
    place.delete_topics(scores, environment["STREAMREC_ERRORS_TOPIC"])
    return first.at_s - started
