"""Proof of exactly once: kill -9 at random under load, then check every input against every output.

    python -m tests.proofs.chaos --kills 20 --processes 2 --events 200000

Everything random follows from the seed, which is printed, except what the machine itself does. The
last line says what came out; the exit status is 0 only if nothing was lost, repeated or changed.
"""

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from benchmarks.place import PARTITIONS, Place, embedded_place, kafka_place
from benchmarks.processes import BenchmarkError
from streamrec.connectors.local.kafka import local_kafka
from streamrec.schemas import load
from streamrec.shop.faults import SchemaIds
from tests.proofs.chaos_check import ChaosVerdict, OutputTopic, inputs_of, judge, outputs_of
from tests.proofs.chaos_feed import shop_of
from tests.proofs.chaos_front import chaos_of_front
from tests.proofs.chaos_join import MODULE as JOIN_MODULE
from tests.proofs.chaos_join import JoinTopics, judge_join
from tests.proofs.chaos_labels import MODULE as LABELS_MODULE
from tests.proofs.chaos_labels import LabelTopics, judge_labels
from tests.proofs.chaos_run import ChaosOptions, ChaosRun, run_to_the_end
from tests.proofs.chaos_scorer import MODULE as SCORER_MODULE
from tests.proofs.chaos_scorer import ScorerTopics, drain, judge_scorer
from tests.proofs.chaos_troubles import subscriber, unwell_registry
from tests.proofs.join_feed import END_RECORDS
from tests.proofs.labels_feed import placed

_ERROR_FIELDS = ("reason", "stage", "exception", "key", "value", "timestamp")


class Flow(NamedTuple):
    """A dataflow as it is checked."""

    module: str
    answers: str  # schema of what it answers with
    same: tuple[str, ...]  # fields of an answer that a run without kills has just the same
    asking: tuple[str, ...]  # event types that are answered; empty: all
    group_suffix: str


FLOWS = {
    # The items and scores come from the session index, which is shared and asynchronous: exempt.
    "recommender": Flow(
        "dataflows.recommender",
        "recommendations",
        ("user_id", "source_topic", "requested_at", "item_id", "feature_set", "features"),
        ("view",),
        "",
    ),
    "scoring": Flow(
        "dataflows.scoring",
        "scores",
        ("user_id", "scored_at", "score", "model_version", "features"),
        (),
        "-scoring",
    ),
}


def say(text: str) -> None:
    sys.stderr.write(f"chaos: {text}\n")
    sys.stderr.flush()


class Topics(NamedTuple):
    """Topics of one run of a dataflow, by what they hold."""

    answers: str
    errors: str
    sessions: str

    @classmethod
    def make(cls, place: Place, flow: Flow) -> "Topics":
        return cls(*(place.make_topic(name) for name in (flow.answers, "errors", "sessions")))

    def settings(self, flow: Flow) -> dict[str, str]:
        return {
            f"{flow.answers}_topic": self.answers,
            "errors_topic": self.errors,
            "sessions_topic": self.sessions,
        }

    def outputs(self, flow: Flow) -> list[OutputTopic]:
        source = ("source_partition", "source_offset")
        return [
            OutputTopic(self.answers, load(flow.answers), source, flow.same, False),
            OutputTopic(self.errors, load("errors"), ("partition", "offset"), _ERROR_FIELDS, True),
        ]


def killed_run(
    place: Place,
    options: ChaosOptions,
    environment: dict[str, str],
    feed: Sequence[str],
    inputs: Sequence[str],
    output: str,
    group: str,
) -> ChaosRun:
    """Run, kill, bring back, stop."""
    with ExitStack() as stack:
        if options.unwell_registry:
            url = environment["SCHEMA_REGISTRY_URL"]
            url = stack.enter_context(unwell_registry(url, options.seed))
            environment = {**environment, "SCHEMA_REGISTRY_URL": url}
        run = ChaosRun(options, place, environment, feed, inputs, output, group, say)
        if options.subscriber:
            servers = environment["KAFKA_BOOTSTRAP_SERVERS"]
            run.while_killing = lambda: subscriber(servers, group, inputs[0])
        run.run()
    rescalings = f"{run.rescalings} rescalings, " if options.sizes else ""
    say(
        f"{run.kills} kills ({run.moments}), {rescalings}{run.second_starts} second starts, "
        f"{run.stops} that hung and woke; after a kill the others ended within "
        f"{run.longest_leave_s:.1f} s; the last stop took {run.stop_s:.1f} s"
    )
    return run


def chaos_of_join(place: Place, options: ChaosOptions) -> tuple[ChaosVerdict, ChaosRun]:
    """The same of the join, whose outputs a plain program knows."""
    topics = JoinTopics.make(place)
    group = f"{place.prefix}-{options.seed}"
    environment = place.process_environment(
        consumer_group=group, delivery=options.delivery, **topics.settings()
    )
    feed = [
        "tests.proofs.join_feed",
        f"--wrong-clocks={options.wrong_clocks}",
        *("--topics", *topics.inputs),
    ]
    under = f"{group}-join"
    run = killed_run(place, options, environment, feed, topics.inputs, topics.outcomes, under)
    say("checking every output against a plain program that sees all inputs at once")
    found = judge_join(place, topics, options.delivery == "transactions")
    say(", ".join(f"{count:,} {kind}" for kind, count in sorted(found.kinds.items())))
    return found.verdict, run


def chaos_of_labels(place: Place, options: ChaosOptions) -> tuple[ChaosVerdict, ChaosRun]:
    """The same of labels, whose examples a plain program knows. `events` are answers; each brings
    some three records more."""
    topics = LabelTopics.make(place)
    group = f"{place.prefix}-{options.seed}"
    environment = place.process_environment(
        consumer_group=group, delivery=options.delivery, **topics.settings()
    )
    records = placed(options.seed, options.events, topics.names, PARTITIONS)
    feed = [
        "tests.proofs.labels_feed",
        f"--answers={options.events}",
        f"--partitions={PARTITIONS}",
        *("--topics", *topics.names.values()),
    ]
    under, inputs = f"{group}-labels", [*topics.names.values()]
    options = replace(options, events=len(records))
    run = killed_run(place, options, environment, feed, inputs, topics.examples, under)
    say("checking every output against a plain program that sees all inputs at once")
    found = judge_labels(place, topics, records, options.delivery == "transactions")
    say(", ".join(f"{count:,} {kind}" for kind, count in sorted(found.kinds.items())))
    return found.verdict, run


def chaos_of_scorer(place: Place, options: ChaosOptions) -> tuple[ChaosVerdict, ChaosRun]:
    """The same of the scorer, whose models fail in every way there is."""
    topics = ScorerTopics.make(place)
    group = f"{place.prefix}-{options.seed}"
    environment = place.process_environment(
        consumer_group=group, delivery=options.delivery, models=topics.models
    )
    feed = ["tests.proofs.scorer_feed", f"--other={topics.other}", "--topics", *topics.inputs]
    outputs = topics.of("plain", "outputs")
    under = f"{group}-scorer"
    run = killed_run(place, options, environment, feed, topics.inputs, outputs, under)
    say("a last run answers what waits")
    drain(environment, place.folder)
    say("checking every output against a plain program")
    found = judge_scorer(place, topics, options.delivery == "transactions")
    say(", ".join(f"{count:,} {kind}" for kind, count in sorted(found.kinds.items())))
    return found.verdict, run


def chaos(
    place: Place, flow: Flow, options: ChaosOptions, model: str
) -> tuple[ChaosVerdict, ChaosRun]:
    """Run, kill, bring back, stop; then run once without kills, and compare."""
    # Brokers take records of wrong clocks by default before 4.0, later only if told to.
    takes = {"message.timestamp.after.max.ms": str(2**63 - 1)} if options.wrong_clocks else None
    clicks, topics = place.make_topic("clicks", takes), Topics.make(place, flow)
    reference_topics = Topics.make(place, flow)
    group = f"{place.prefix}-{options.seed}"
    settings = {"clicks_topic": clicks, "consumer_group": group, "model": model}
    environment = place.process_environment(
        **settings, **topics.settings(flow), delivery=options.delivery
    )
    feed = [
        "tests.proofs.chaos_feed",
        f"--topic={clicks}",
        f"--wrong-clocks={options.wrong_clocks}",
    ]
    under = group + flow.group_suffix
    run = killed_run(place, options, environment, feed, [clicks], topics.answers, under)
    say("running once without kills")
    settings |= {"consumer_group": f"{group}-reference", "start_from": "earliest"}
    run_to_the_end(
        options.flow,
        place.process_environment(**settings, **reference_topics.settings(flow), follow="false"),
        place.folder / "reference.log",
    )
    say("checking every input against every output")
    with closing(place.log.registry()) as registry:
        ids = SchemaIds.of(registry)
        shop = shop_of(options.seed, options.events, ids, options.wrong_clocks)
    committed_only = options.delivery == "transactions"
    inputs = inputs_of(place, clicks, shop, lambda name: not flow.asking or name in flow.asking)
    outputs = outputs_of(place, inputs, topics.outputs(flow), committed_only)
    reference = outputs_of(place, inputs, reference_topics.outputs(flow), committed_only=False)
    return judge(inputs, outputs, reference), run


def open_place(stack: ExitStack, given: argparse.Namespace, folder: Path) -> Place:
    if given.backend == "embedded":
        return embedded_place(folder, say)
    if given.kafka == "external":
        servers = os.environ["KAFKA_BOOTSTRAP_SERVERS"]
        return kafka_place(servers, os.environ["SCHEMA_REGISTRY_URL"], folder, say)
    say("starting Kafka and a registry, some 10 s")
    kafka = stack.enter_context(local_kafka(folder / "kafka"))
    return kafka_place(kafka.bootstrap_servers, kafka.registry_url, folder, say)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="tests.proofs.chaos",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--workers", type=int, default=1, help="threads of each process")
    parser.add_argument("--backend", choices=("kafka", "embedded"), default="kafka")
    parser.add_argument("--delivery", choices=("read_back", "transactions"), default="read_back")
    parser.add_argument(
        "--second-start", action="store_true", help="start all again now and then: it is refused"
    )
    parser.add_argument(
        "--stopped",
        choices=("never", "goes-on", "replaced"),
        default="never",
        help="processes that hang now and then (SIGSTOP) for longer than a lease, and wake; with "
        "`replaced` others have taken over by then (embedded, or transactions)",
    )
    parser.add_argument(
        "--flow",
        "--dataflow",
        choices=(*FLOWS, "join", "labels", "scorer", "front"),
        default="recommender",
        help="join: two inputs with timers; labels: seven inputs, and what comes of answers; "
        "scorer: six models, most of which fail; of these the number of processes changes under "
        "way, too; front: HTTP in and out, with ingress, main "
        "job, store and API killed in turns, for as long as that takes",
    )
    parser.add_argument(
        "--model", help="STREAMREC_MODEL of the recommender and of scoring; by default none"
    )
    parser.add_argument(
        "--subscriber", action="store_true", help="a consumer subscribes under the group (Kafka)"
    )
    parser.add_argument(
        "--unwell-registry",
        action="store_true",
        help="a registry that answers nonsense in turns (Kafka)",
    )
    parser.add_argument("--seed", type=int, help="repeat the choices of an earlier run")
    parser.add_argument(
        "--wrong-clocks",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="so many of the records come from clocks that are ten years ahead, such as 0.02",
    )
    parser.add_argument("--folder", type=Path, help="keep data and logs here")
    parser.add_argument(
        "--kafka",
        choices=("local", "external"),
        default="local",
        help="start a broker, or use KAFKA_BOOTSTRAP_SERVERS and SCHEMA_REGISTRY_URL",
    )
    given = parser.parse_args(arguments)
    if given.stopped == "replaced" and (given.backend, given.delivery) == ("kafka", "read_back"):
        parser.error(
            "--stopped replaced: on Kafka what the client had taken is sent when it wakes, which "
            "only --delivery transactions rules out"
        )
    if given.model and given.flow not in FLOWS:
        parser.error(f"--model expected --flow {' or '.join(FLOWS)}, got {given.flow}")
    if given.wrong_clocks and given.flow in ("labels", "scorer"):
        parser.error(f"--wrong-clocks expected another --flow, got {given.flow}")
    if given.flow == "join" and given.events < END_RECORDS:
        parser.error(f"--events expected at least {END_RECORDS} of join, got {given.events}")
    for name in ("subscriber", "unwell_registry"):
        if getattr(given, name) and given.backend == "embedded":
            parser.error(f"--{name.replace('_', '-')} expected --backend kafka, got embedded")
    return given


def _front(given: argparse.Namespace, seed: int, folder: Path) -> int:
    say(f"seed {seed}; data and logs in {folder}")
    with ExitStack() as stack:
        try:
            verdict = chaos_of_front(open_place(stack, given, folder), given.kills, seed, say)
        except BenchmarkError as error:
            say(f"{error}\nseed {seed}; logs are kept in {folder}")
            return 1
    return _end(verdict, given, given.kills, seed, folder)


def _end(
    verdict: ChaosVerdict, given: argparse.Namespace, kills: int, seed: int, folder: Path
) -> int:
    for offender in verdict.offenders:
        sys.stdout.write(f"{offender}\n")
    if verdict.good and given.folder is None:
        shutil.rmtree(folder)
    sys.stdout.write(verdict.line(kills, seed) + "\n")
    return 0 if verdict.good else 1


def main(arguments: list[str] | None = None) -> int:
    given = parse(arguments)
    seed = random.SystemRandom().randrange(1_000_000) if given.seed is None else given.seed
    folder = given.folder or Path(tempfile.mkdtemp(prefix="streamrec-chaos-"))
    folder.mkdir(parents=True, exist_ok=True)
    if given.flow == "front":
        return _front(given, seed, folder)
    modules = {"join": JOIN_MODULE, "labels": LABELS_MODULE, "scorer": SCORER_MODULE}
    count = given.processes
    say(f"seed {seed}; data and logs in {folder}")
    options = ChaosOptions(
        modules.get(given.flow) or FLOWS[given.flow].module,
        given.kills,
        given.events,
        given.processes,
        given.workers,
        seed,
        given.delivery,
        sizes=(count, count + 1, max(1, count - 1), count) if given.flow in modules else (),
        wrong_clocks=given.wrong_clocks,
        subscriber=given.subscriber,
        unwell_registry=given.unwell_registry,
        # Rivals take their time, and the load must last until the kill.
        seconds_per_kill=30.0 if given.second_start or given.stopped != "never" else 6.0,
        second_start=given.second_start,
        stopped=given.stopped,
    )
    began_s = time.monotonic()
    with ExitStack() as stack:
        try:
            place = open_place(stack, given, folder)
            if given.flow == "join":
                verdict, run = chaos_of_join(place, options)
            elif given.flow == "labels":
                verdict, run = chaos_of_labels(place, options)
            elif given.flow == "scorer":
                verdict, run = chaos_of_scorer(place, options)
            else:
                verdict, run = chaos(place, FLOWS[given.flow], options, given.model or "none")
        except BenchmarkError as error:
            say(f"{error}\nseed {seed}; logs are kept in {folder}")
            return 1
    say(f"took {time.monotonic() - began_s:.0f} s")
    return _end(verdict, given, run.kills, seed, folder)


if __name__ == "__main__":
    sys.exit(main())
