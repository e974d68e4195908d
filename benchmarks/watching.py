"""What it costs a main job to be seen, while somebody asks for its metrics every second."""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from benchmarks.figures import Figure
from benchmarks.main_job import WARM_UP_SHARE, fill_from_shop, main_job_environment
from benchmarks.place import Place
from benchmarks.processes import Progress, flow, running
from streamrec.services.metrics.looking import look_at
from streamrec.services.metrics.notes import read_notes

NAME = "watching"
EVENTS = 60_000
SHARE_MAX = 0.01
PAIRS = 3
_LOOK_S = 1.0
_SHARE = "of the main job's CPU"


def run(place: Place, events: int) -> list[Figure]:
    """The share is exact; the ratio of runs with and without metrics is as exact as the machine is
    quiet."""
    clicks = place.make_topic("clicks")
    asked, _ = fill_from_shop(place, clicks, events)
    spent = spent_of(place, clicks, events)
    ratios = []
    for _ in range(PAIRS):
        off, on = (_warm_us(place, clicks, asked, seen) for seen in (False, True))
        ratios.append(on / off)
    place.delete_topics(clicks)
    name = f"{NAME}.{place.backend}"
    return [
        Figure(f"{name}.share", spent["counting"] + spent["answering"], _SHARE, SHARE_MAX),
        Figure(f"{name}.counting", spent["counting"], _SHARE),
        Figure(f"{name}.batch", spent["us"], "us CPU/batch read or written"),
        Figure(f"{name}.ratio", median(ratios), "CPU with metrics / without"),
    ]


def spent_of(place: Place, clicks: str, events: int) -> dict[str, float]:
    """What `counting` and `answering` take of all that the process does, and `us` of a count."""
    out = place.folder / "counted.json"
    warm = int(WARM_UP_SHARE * events)
    with _environment(place, clicks, True) as (environment, _):
        arguments = ["benchmarks.counted_flow", str(warm), str(out)]
        with (
            running("counted", arguments, environment, place.folder) as process,
            _looked_at(Path(environment["XDG_RUNTIME_DIR"])),
        ):
            process.wait()
    found: dict[str, float] = json.loads(out.read_text())
    return found


def _warm_us(place: Place, clicks: str, asked: int, seen: bool) -> float:
    """CPU of a warm main job for each recommendation, in us."""
    with _environment(place, clicks, seen) as (environment, recommendations):
        arguments = flow("streamrec.dataflows.recommender")
        with (
            running("recommender", arguments, environment, place.folder) as process,
            _looked_at(Path(environment["XDG_RUNTIME_DIR"])),
        ):
            progress = Progress(process, place.log, recommendations)
            progress.watch(lambda sample: False)
            process.wait()
        return progress.warm_us(asked, WARM_UP_SHARE)[0]


@contextmanager
def _environment(place: Place, clicks: str, seen: bool) -> Iterator[tuple[Mapping[str, str], str]]:
    """Of a main job with topics of its own, and the name of that of recommendations."""
    topics = [place.make_topic(name) for name in ("recommendations", "sessions", "errors")]
    runtime = place.folder / "runtime"
    runtime.mkdir(exist_ok=True)
    address = "127.0.0.1:0" if seen else "off"
    yield (
        {
            **main_job_environment(place, clicks, *topics),
            "STREAMREC_METRICS_ADDRESS": address,
            "XDG_RUNTIME_DIR": str(runtime),
        },
        topics[0],
    )
    place.delete_topics(*topics)


@contextmanager
def _looked_at(runtime: Path) -> Iterator[None]:
    """Ask all processes for their metrics, again and again, from a thread."""
    over = threading.Event()

    def look() -> None:
        while not over.wait(_LOOK_S):
            for note in read_notes(runtime / "streamrec"):
                look_at(note)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


__all__ = ["EVENTS", "NAME", "run", "spent_of"]
