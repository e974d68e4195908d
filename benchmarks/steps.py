"""CPU for each event by step, on real batches: at full speed, at a steady rate, and the main job.

The clock around each step costs some microseconds a batch, which shows at small batches.
"""

import json
from pathlib import Path

from benchmarks.clicks import ClickLoad, fill
from benchmarks.figures import Figure
from benchmarks.main_job import fill_from_shop, main_job_environment
from benchmarks.place import Place
from benchmarks.processes import running
from benchmarks.scoring_paced import scoring_environment, sending, warm_up

NAME = "steps"
EVENTS = 300_000
RATE = 10_000  # events per second, paced
_MAIN_JOB_SHARE = 0.1  # of the events: it costs that much more


def run(place: Place, events: int) -> list[Figure]:
    return [
        *full_speed(place, events),
        *paced(place, events / 3),
        *main_job(place, max(int(events * _MAIN_JOB_SHARE), 1_000)),
    ]


def full_speed(place: Place, events: int) -> list[Figure]:
    clicks, scores, errors = map(place.make_topic, ("clicks", "scores", "errors"))
    fill(place, clicks, ClickLoad(events))
    environment = scoring_environment(place, clicks, scores, errors, follow=False)
    report = place.folder / "full-speed.json"
    arguments = _timed("dataflows.scoring", events // 3, report)
    with running("timed-scoring", arguments, environment, place.folder) as process:
        process.wait()
    place.delete_topics(clicks, scores, errors)
    return _figures("full_speed", report)


def paced(place: Place, events: float) -> list[Figure]:
    clicks, scores, errors = map(place.make_topic, ("clicks", "scores", "errors"))
    environment = scoring_environment(place, clicks, scores, errors)
    report = place.folder / "paced.json"
    arguments = _timed("dataflows.scoring", RATE, report)
    with running("timed-paced-scoring", arguments, environment, place.folder) as process:
        warm_up(place, process, clicks, scores)
        with sending(place, clicks, RATE, events / RATE + 1) as sender:
            sender.wait()
        process.stop()
    place.delete_topics(clicks, scores, errors)
    return _figures("paced", report)


def main_job(place: Place, events: int) -> list[Figure]:
    clicks = place.make_topic("clicks")
    fill_from_shop(place, clicks, events)
    outputs = list(map(place.make_topic, ("recommendations", "sessions", "errors")))
    environment = main_job_environment(place, clicks, *outputs)
    report = place.folder / "main-job.json"
    arguments = _timed("dataflows.recommender", events // 2, report)
    with running("timed-recommender", arguments, environment, place.folder) as process:
        process.wait()
    place.delete_topics(clicks, *outputs)
    return _figures("main_job", report)


def _timed(module: str, warm_events: int, report: Path) -> list[str]:
    return ["benchmarks.timed_flow", module, str(warm_events), str(report)]


def _figures(what: str, path: Path) -> list[Figure]:
    """The dearest first."""
    report = json.loads(path.read_text())
    by_cost = sorted(report["us"].items(), key=lambda pair: -float(pair[1]))
    per_batch = report["events"] / report["calls"]["decode"]
    return [
        Figure(f"{NAME}.{what}.events_per_batch", per_batch, "events"),
        *(Figure(f"{NAME}.{what}.{step}", us, "us CPU/event") for step, us in by_cost),
        Figure(f"{NAME}.{what}.sum", sum(report["us"].values()), "us CPU/event"),
    ]
