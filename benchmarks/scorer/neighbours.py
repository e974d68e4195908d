"""What a model's answers wait for because of another model: a slow one beside it, and shadows.

- *slow beside fast*: a model of a second a record, which is always busy, in the same list as one
  that costs nothing; the fast one's p99 is what counts, and how long a stop takes.
- *shadows*: an experiment whose champion costs nothing, alone and beside a shadow that sleeps for a
  second a record, and one that leaks until its memory is up, again and again. Rounds are in turns;
  the medians of the ratios of a round count.
"""

import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.figures import Figure
from benchmarks.place import Place
from benchmarks.processes import recovering, running
from benchmarks.scorer.ours import MODULE, Served, Table, serve
from benchmarks.scorer.paced import BY_BROKER, Latencies, paced
from benchmarks.scorer.records import fill, flowers
from benchmarks.scorer.throughput import EPOCH_S

ROUNDS = 5
SECONDS = 20.0  # that count, of each round
P99_MS_MAX = 200.0
SHADOW_P99_RATIO_MAX = 1.1
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
    latencies, stop_s = _serve(place, served, "fast")
    return [
        *_percentiles(f"{name}.beside_slow", latencies, P99_MS_MAX),
        Figure(f"{name}.beside_slow.stop", stop_s, "s"),
    ]


def shadows(place: Place, name: str) -> list[Figure]:
    rounds: dict[str, list[Latencies]] = {"alone": [], **{shadow: [] for shadow in _SHADOWS}}
    for number in range(ROUNDS):
        for kind, found in rounds.items():
            variants = [_CHAMPION, *([_SHADOWS[kind]] if kind in _SHADOWS else [])]
            served = _experiment(place, f"{kind}-{number}", variants)
            latencies, _ = _serve(place, served, "tried")
            found.append(latencies)
        shown = ", ".join(
            f"{kind} {found[-1].percentile(99):.1f}" for kind, found in rounds.items()
        )
        place.say(f"round {number + 1} of {ROUNDS}: the champion's p99 in ms: {shown}")
    alone = [latencies.percentile(99) for latencies in rounds["alone"]]
    return [
        *(
            Figure(
                f"{name}.shadow_{kind}.p99_ratio",
                statistics.median(
                    beside.percentile(99) / p99
                    for beside, p99 in zip(rounds[kind], alone, strict=True)
                ),
                "x",
                SHADOW_P99_RATIO_MAX,
            )
            for kind in _SHADOWS
        ),
        *(
            Figure(
                f"{name}.champion_{kind}.p99",
                statistics.median(latencies.percentile(99) for latencies in found),
                "ms",
            )
            for kind, found in rounds.items()
        ),
    ]


def _experiment(place: Place, run: str, variants: Sequence[Table]) -> Served:
    experiment = {"name": "tried", "configs": BY_BROKER, "variants": variants}
    return serve(place, run, experiments=[experiment])


def _serve(place: Place, served: Served, name: str) -> tuple[Latencies, float]:
    """Pace one of the models; also how long a stop took, in seconds."""
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
        process.stop()
        stop_s = time.monotonic() - asked
    return latencies, stop_s


def _percentiles(name: str, latencies: Latencies, p99_max: float | None) -> list[Figure]:
    return [
        Figure(f"{name}.{label}", latencies.percentile(percent), "ms", target)
        for label, percent, target in (
            ("p50", 50, None),
            ("p99", 99, p99_max),
            ("p999", 99.9, None),
        )
    ]
