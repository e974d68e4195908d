"""What a model's answers wait for because of another model: a slow one beside it, and shadows.

- *slow beside fast*: a model of a second a record, which is always busy, in the same list as one
  that costs nothing; the fast one's p99 is what counts.
- *shadows*: an experiment whose champion costs nothing, alone and beside a shadow that sleeps for a
  second a record, and one that leaks until its memory is up, again and again. Rounds are in turns;
  the medians of the ratios of a round count.

In all of them it is told how long a stop takes, too.
"""

import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import Figure
from benchmarks.place import Place
from benchmarks.processes import BenchmarkError, recovering, running
from benchmarks.scorer.ours import MODULE, Served, Table, serve
from benchmarks.scorer.paced import BY_BROKER, Latencies, paced
from benchmarks.scorer.records import fill, flowers
from benchmarks.scorer.throughput import EPOCH_S

ROUNDS = 5
SECONDS = 20.0  # that count, of each round
P99_MS_MAX = 200.0
SHADOW_P99_RATIO_MAX = 1.1
STOP_S_MAX = 5.0
_SLOW_BACKLOG = 1_000  # more than can be answered
_CHAMPION: Table = {"name": "champion", "model": "bench_models:Iris"}
_SHADOWS: dict[str, Table] = {
    "sleeping": {"name": "sleeping", "model": "bench_models:Slow", "shadow": True},
    "leaking": {
        "name": "leaking",
        "model": "bench_models:Leaking",
        "shadow": True,
        "memory_mb": 100,
    },
}


@dataclass(frozen=True, slots=True)
class Round:
    latencies: Latencies
    stop_s: float

    @property
    def p99_ms(self) -> float:
        return self.latencies.percentile(99)


def slow_beside_fast(place: Place, name: str) -> list[Figure]:
    served = serve(
        place,
        "slow-beside-fast",
        [
            {"model": "bench_models:Iris", "name": "fast", "configs": BY_BROKER},
            {"model": "bench_models:Slow", "name": "slow", "timeout_s": 10.0},
        ],
    )
    fill(place, served.topic("slow", "inputs"), flowers, _SLOW_BACKLOG)
    found = _serve(place, served, "fast")
    name = f"{name}.beside_slow"
    return [
        Figure(f"{name}.p50", found.latencies.percentile(50), "ms"),
        Figure(f"{name}.p99", found.p99_ms, "ms", P99_MS_MAX),
        Figure(f"{name}.p999", found.latencies.percentile(99.9), "ms"),
        Figure(f"{name}.stop", found.stop_s, "s", STOP_S_MAX),
    ]


def shadows(place: Place, name: str) -> list[Figure]:
    rounds: dict[str, list[Round]] = {"alone": [], **{shadow: [] for shadow in _SHADOWS}}
    for number in range(ROUNDS):
        for kind, found in rounds.items():
            variants = [_CHAMPION, *([_SHADOWS[kind]] if kind in _SHADOWS else [])]
            experiment = {"name": "tried", "configs": BY_BROKER, "variants": variants}
            served = serve(place, f"{kind}-{number}", experiments=[experiment])
            found.append(_serve(place, served, "tried"))
        shown = ", ".join(f"{kind} {found[-1].p99_ms:.1f}" for kind, found in rounds.items())
        place.say(f"round {number + 1} of {ROUNDS}: the champion's p99 in ms: {shown}")
    return [
        *(_ratio(name, kind, rounds[kind], rounds["alone"]) for kind in _SHADOWS),
        *(figure for kind, found in rounds.items() for figure in _medians(name, kind, found)),
    ]


def _ratio(name: str, kind: str, beside: Sequence[Round], alone: Sequence[Round]) -> Figure:
    ratios = [b.p99_ms / a.p99_ms for b, a in zip(beside, alone, strict=True)]
    return Figure(
        f"{name}.shadow_{kind}.p99_ratio", statistics.median(ratios), "x", SHADOW_P99_RATIO_MAX
    )


def _medians(name: str, kind: str, found: Sequence[Round]) -> list[Figure]:
    p99_ms = statistics.median(each.p99_ms for each in found)
    stop_s = statistics.median(each.stop_s for each in found)
    return [
        Figure(f"{name}.champion_{kind}.p99", p99_ms, "ms"),
        Figure(f"{name}.champion_{kind}.stop", stop_s, "s", STOP_S_MAX),
    ]


def _serve(place: Place, served: Served, name: str) -> Round:
    """Pace one of the models, then stop them all."""
    topics = served.topic(name, "inputs"), served.topic(name, "outputs")
    environment = served.following()
    with (
        tempfile.TemporaryDirectory(dir=place.folder) as recovery,
        running(
            served.prefix, recovering(MODULE, Path(recovery), EPOCH_S), environment, place.folder
        ) as process,
    ):
        latencies = paced(place, process, topics, flowers, SECONDS)
        asked = time.monotonic()
        try:
            process.stop()
        except BenchmarkError as error:  # how long it took is told, and the rest goes on
            place.say(str(error))
        stop_s = time.monotonic() - asked
    served.delete_topics(place)
    return Round(latencies, stop_s)
