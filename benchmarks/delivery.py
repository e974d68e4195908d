"""What it costs that each output comes once: the scoring path at full speed with a recovery
directory, in each mode of delivery, against the one that may repeat.

An epoch is a second here and not the ten of the engine's default, so that what an epoch costs shows
ten times as much.
"""

import statistics
import tempfile
from pathlib import Path

from benchmarks.clicks import ClickLoad, fill
from benchmarks.figures import Figure
from benchmarks.place import Place
from benchmarks.processes import Progress, recovering, running
from benchmarks.scoring_paced import scoring_environment

NAME = "delivery"
EVENTS = 1_000_000
ROUNDS = 5
EPOCH_S = 1
LEAST = "at_least_once"
RATIOS_MAX = {"read_back": 1.1, "transactions": 1.3}


def run(place: Place, events: int) -> list[Figure]:
    clicks = place.make_topic("clicks")
    fill(place, clicks, ClickLoad(events))
    cpu_us: dict[str, list[float]] = {mode: [] for mode in (LEAST, *RATIOS_MAX)}
    for number in range(ROUNDS):
        # In turns, so that what else the machine does falls on all alike.
        for mode, found in cpu_us.items():
            found.append(cpu_of(place, clicks, events, mode))
        shown = ", ".join(f"{mode} {found[-1]:.2f}" for mode, found in cpu_us.items())
        place.say(f"round {number + 1} of {ROUNDS}: {shown} us of CPU per event, warm")
    place.delete_topics(clicks)
    ratios = {
        mode: statistics.median(a / b for a, b in zip(cpu_us[mode], cpu_us[LEAST], strict=True))
        for mode in RATIOS_MAX
    }
    return [
        *(Figure(f"{NAME}.{m}_ratio", ratio, "x", RATIOS_MAX[m]) for m, ratio in ratios.items()),
        *(
            Figure(f"{NAME}.{mode}_cpu", statistics.median(found), "us CPU/event")
            for mode, found in cpu_us.items()
        ),
    ]


def cpu_of(place: Place, clicks: str, events: int, mode: str) -> float:
    """CPU per event in us, once 30 % of the events are done."""
    scores, errors = place.make_topic("scores"), place.make_topic("errors")
    environment = scoring_environment(place, clicks, scores, errors, follow=False)
    environment["STREAMREC_DELIVERY"] = mode
    with (
        tempfile.TemporaryDirectory(dir=place.folder) as recovery,
        running(
            mode,
            recovering("dataflows.scoring", Path(recovery), EPOCH_S),
            environment,
            place.folder,
        ) as job,
    ):
        progress = Progress(job, place.log, scores)
        progress.watch(lambda sample: False)
        job.wait()
    place.delete_topics(scores, errors)
    return progress.warm_us(events)[0]
