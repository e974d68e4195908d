"""Two processes against one on the same clicks: rate, and CPU for each event."""

import statistics
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.clicks import ClickLoad, fill
from benchmarks.figures import Figure
from benchmarks.main_job import fill_from_shop, main_job_environment
from benchmarks.place import Place
from benchmarks.processes import Progress, Running, expect_count, flow, running
from benchmarks.scoring_paced import scoring_environment
from streamrec.connectors.local.free_ports import free_ports

NAME = "scaling"
EVENTS = 1_000_000  # of the scoring path
ROUNDS = 3
PROCESSES = (1, 2)
RATE_MIN = 1.7
_MAIN_JOB_SHARE = 0.1  # of the events: it costs that much more


@dataclass(frozen=True, slots=True)
class Together:
    """Processes of one dataflow, watched as one."""

    members: Sequence[Running]
    log: Path

    def poll(self) -> bool:
        return any(member.poll() for member in self.members)

    def cpu_s(self) -> float:
        return sum(member.cpu_s() for member in self.members)

    def wait(self) -> None:
        for member in self.members:
            member.wait()


@dataclass(frozen=True, slots=True)
class Run:
    cpu_us: float  # per output, of all processes, once warm
    rate: float  # outputs per second


def run(place: Place, events: int) -> list[Figure]:
    asked_events = max(int(events * _MAIN_JOB_SHARE), 1_000)
    scored, recommended = place.make_topic("clicks"), place.make_topic("clicks")
    fill(place, scored, ClickLoad(events))
    asked, _ = fill_from_shop(place, recommended, asked_events)
    figures: list[Figure] = []
    for path, clicks, outputs in (("scoring", scored, events), ("main_job", recommended, asked)):
        runs: dict[int, list[Run]] = {count: [] for count in PROCESSES}
        for _ in range(ROUNDS):
            for count, found in runs.items():
                found.append(run_path(place, path, clicks, outputs, count))
        figures += _figures(f"{NAME}.{path}", runs)
    place.delete_topics(scored, recommended)
    return figures


def _figures(name: str, runs: dict[int, list[Run]]) -> list[Figure]:
    one, two = (runs[count] for count in PROCESSES)
    speed_up = statistics.median(b.rate / a.rate for a, b in zip(one, two, strict=True))
    return [
        # Told as its inverse, since a target is a most: 1 / 1.7 is a speed-up of 1.7.
        Figure(f"{name}.time_ratio", 1 / speed_up, "x", 1 / RATE_MIN),
        Figure(f"{name}.speed_up", speed_up, "x"),
        *(
            figure
            for count, found in runs.items()
            for figure in (
                Figure(
                    f"{name}.rate_{count}", statistics.median(r.rate for r in found), "outputs/s"
                ),
                Figure(
                    f"{name}.cpu_{count}",
                    statistics.median(r.cpu_us for r in found),
                    "us CPU/output",
                ),
            )
        ),
    ]


def run_path(place: Place, path: str, clicks: str, outputs: int, count: int) -> Run:
    if path == "scoring":
        topics = [place.make_topic("scores"), place.make_topic("errors")]
        environment = scoring_environment(place, clicks, topics[0], topics[1], follow=False)
        module = "dataflows.scoring"
    else:
        topics = [place.make_topic(name) for name in ("recommendations", "sessions", "errors")]
        environment = main_job_environment(place, clicks, *topics)
        module = "dataflows.recommender"
    with ExitStack() as stack:
        together = Together(
            [
                stack.enter_context(
                    running(f"{path}-{index}", arguments, environment, place.folder)
                )
                for index, arguments in enumerate(_arguments(module, count))
            ],
            place.folder / f"{path}-0.log",
        )
        progress = Progress(together, place.log, topics[0])
        progress.watch(lambda sample: False)
        together.wait()
    expect_count(place.log, topics[0], outputs)
    place.delete_topics(*topics)
    cpu_us, wall_us = progress.warm_us(outputs)
    return Run(cpu_us, 1e6 / wall_us)


def _arguments(module: str, count: int) -> list[list[str]]:
    if count == 1:
        return [flow(module)]
    addresses = ";".join(f"127.0.0.1:{port}" for port in free_ports(count))
    return [flow(module, "-i", str(index), "-a", addresses) for index in range(count)]
