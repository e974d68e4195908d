"""`python -m benchmarks`: measures on a real Kafka, prints figures beside their targets."""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks import (
    delivery,
    keyed,
    labels,
    main_job,
    many_users,
    memory,
    models,
    scaling,
    scoring_full_speed,
    scoring_paced,
    steps,
    watching,
)
from benchmarks.figures import Figure, print_figures, write_figures
from benchmarks.front import measure as front
from benchmarks.join import measure as join
from benchmarks.place import Place, embedded_place, kafka_place
from benchmarks.scorer import measure as scorer
from streamrec.connectors.local.kafka import local_kafka

_EXTERNAL = ("KAFKA_BOOTSTRAP_SERVERS", "SCHEMA_REGISTRY_URL")


@dataclass(frozen=True, slots=True)
class Benchmark:
    name: str
    events: int  # by default
    run: Callable[[Place, int], list[Figure]]
    on: tuple[str, ...] = ("kafka",)  # back ends, each in turn

    @staticmethod
    def of(module: object, *on: str) -> "Benchmark":
        name, events, run = (getattr(module, attribute) for attribute in ("NAME", "EVENTS", "run"))
        return Benchmark(name, events, run, on or ("kafka",))


BENCHMARKS = {
    benchmark.name: benchmark
    for benchmark in (
        Benchmark.of(scoring_full_speed),
        Benchmark.of(scoring_paced),
        Benchmark.of(main_job, "embedded", "kafka"),
        Benchmark.of(steps),
        Benchmark.of(memory, "embedded"),
        Benchmark.of(watching, "embedded"),
        Benchmark.of(delivery),
        Benchmark.of(many_users),
        Benchmark.of(keyed, "embedded"),
        Benchmark.of(join, "embedded", "kafka"),
        Benchmark.of(labels, "embedded"),
        Benchmark.of(scaling),
        Benchmark.of(scorer),
        Benchmark.of(front, "embedded", "kafka"),
        Benchmark.of(models, "embedded"),
    )
}


def say(text: str) -> None:
    sys.stderr.write(f"bench: {text}\n")
    sys.stderr.flush()


class Places:
    """Opens each back end when the first benchmark asks for it."""

    def __init__(self, stack: ExitStack, folder: Path, external: bool) -> None:
        self._stack = stack
        self._folder = folder
        self._external = external
        self._open: dict[str, Place] = {}

    def __call__(self, backend: str) -> Place:
        if backend not in self._open:
            make = embedded_place if backend == "embedded" else self._kafka
            self._open[backend] = make(self._folder, say)
        return self._open[backend]

    def _kafka(self, folder: Path, say: Callable[[str], None]) -> Place:
        if self._external:
            servers, url = (os.environ[name] for name in _EXTERNAL)
        else:
            say("starting Kafka and a registry, some 10 s")
            kafka = self._stack.enter_context(local_kafka(folder / "kafka"))
            servers, url = kafka.bootstrap_servers, kafka.registry_url
        return kafka_place(servers, url, folder, say)


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    unknown = sorted(set(names) - set(BENCHMARKS))
    if unknown:
        raise argparse.ArgumentTypeError(f"expected some of {', '.join(BENCHMARKS)}, got {unknown}")
    return names


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--only", type=_names, help=f"with commas between: {','.join(BENCHMARKS)}")
    parser.add_argument("--events", type=int, help="events of each benchmark, instead of its own")
    parser.add_argument("--out", type=Path, help="write the figures to this JSON file, too")
    parser.add_argument(
        "--kafka",
        choices=("local", "external"),
        default="local",
        help="start a broker, or use KAFKA_BOOTSTRAP_SERVERS and SCHEMA_REGISTRY_URL",
    )
    given = parser.parse_args(arguments)
    unset = [name for name in _EXTERNAL if not os.environ.get(name)]
    if given.kafka == "external" and unset:
        parser.error(f"--kafka external expected {' and '.join(unset)} to be set, got none")
    figures: list[Figure] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="streamrec-bench-")))
        places = Places(stack, folder, given.kafka == "external")
        for name in given.only or BENCHMARKS:
            benchmark = BENCHMARKS[name]
            for backend in benchmark.on:
                say(f"{name} on {backend}")
                place, started = places(backend), time.monotonic()
                figures += benchmark.run(place, given.events or benchmark.events)
                say(f"{name} took {time.monotonic() - started:.0f} s")
    print_figures(figures)
    if given.out is not None:
        write_figures(figures, given.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
