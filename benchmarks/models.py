"""`models`: what following a published model costs the scorer, and answers while versions change.

One process answers 1,000 inputs a second, first with one version, then while 20 are published. A
reader of the outputs takes the time: from the input's timestamp until the output is read.
"""

import json
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np

from benchmarks.figures import Figure
from benchmarks.place import Place
from streamrec import PaperJob
from streamrec.connectors.log import Outgoing
from streamrec.dataflows.engine.supervisor import Cluster, ClusterOptions
from streamrec.dataflows.errors.failed import Origins
from streamrec.dataflows.job.paper import batch_of
from streamrec.dataflows.job.settings import load_settings
from streamrec.dataflows.job.topics import MODEL_EVENTS, MODELS, Topic, make_all, redrives_of
from streamrec.dataflows.learning.published import ModelTopics
from streamrec.dataflows.learning.publishing import Publisher
from streamrec.dataflows.serving.answering import Judge
from streamrec.dataflows.serving.inputs import ModelInputs
from streamrec.dataflows.serving.pipelines import Variant
from streamrec.dataflows.serving.running import Running
from streamrec.dataflows.serving.serve import listed
from streamrec.dataflows.serving.swap.asking import AnswerPublished
from streamrec.dataflows.serving.swap.first import FirstVersions
from streamrec.dataflows.serving.swap.swapping import Swapping, SwapPlan
from streamrec.dataflows.serving.swap.trials import TrialRules
from streamrec.dataflows.serving.swap.watch import ModelWatch
from streamrec.models.learning.archives import Archive, pack_folder

NAME = "models"
EVENTS = 20_000  # a half of them while versions change
SWAPS = 20
RATE = 1_000  # a second
_TICK_S = 0.01
_DESCRIPTION = 'name = "m"\n[[inputs]]\nname = "x"\ntype = "number"\n[output]\nname = "answer"\n'


def run(place: Place, events: int) -> list[Figure]:
    """See the module."""
    make_all(place.log, {MODELS.name: MODELS, MODEL_EVENTS.name: MODEL_EVENTS})
    archives = [_archive(place.folder / f"model-{n}", float(n)) for n in range(SWAPS + 1)]
    with Publisher(place.log) as publisher:
        publisher.publish("m", archives[0])
    figures = [_cost(place)]
    with _scorer(place) as topics:
        steady = _paced(place, topics, events // 2, lambda: None)
        publishing = partial(_publish_all, place, archives[1:], events / 2 / RATE / (SWAPS + 2))
        swapping = _paced(place, topics, events // 2, publishing)
    for what, found in (("steady", steady), ("swapping", swapping)):
        for share in (50, 99):
            ms = float(np.percentile(found, share))
            figures.append(Figure(f"models.p{share}_{what}", ms, "ms"))
    factor = float(np.percentile(swapping, 99) / np.percentile(steady, 99))
    figures.append(Figure("models.p99_swapping_to_steady", factor, "", at_most=2.0))
    missing = events - len(steady) - len(swapping)
    figures.append(Figure("models.missing_or_double", float(abs(missing)), "", at_most=0.0))
    return figures


def _archive(folder: Path, answer: float) -> Archive:
    import skops.io
    from sklearn.dummy import DummyRegressor

    folder.mkdir()
    model = DummyRegressor(strategy="constant", constant=answer).fit([[0.0]], [answer])
    skops.io.dump(model, folder / "m.skops")
    (folder / "m.toml").write_text(_DESCRIPTION)
    return pack_folder(folder)


def _cost(place: Place) -> Figure:
    """Of the step itself, in this process, around a model that takes no time: batches of 100 inputs
    of four partitions."""
    watch = ModelWatch(place.log, ModelTopics())
    first = FirstVersions(lambda: watch).of(Variant("published:m"))
    rules = TrialRules("m", False, False, 0.2, None)

    def answering(running: Running, served: int, judge: Judge) -> Any:
        def answer(inputs: ModelInputs) -> list[Any]:
            judge(len(inputs), ())
            return []

        return answer

    variant = Variant("published:m")
    metadata = first.predictor.metadata
    plan = SwapPlan("m", "m", variant, metadata, rules, "bench", True, answering)
    answer, inputs = AnswerPublished(Swapping(plan, watch, first, {})), _inputs()
    least_s = min(_seconds(answer, inputs) for _ in range(50))
    watch.close()
    return Figure("models.following_us", least_s / len(inputs) * 1e6, "us an input", at_most=0.3)


def _inputs() -> ModelInputs:
    topic = Topic("t", format="json", key_beside=True, named_by_setting=False)
    batches = [batch_of(topic, [{"x": 1.0}] * 25, partition) for partition in range(4)]
    values: list[Any] = [{"x": 1.0}] * 100
    return ModelInputs("s", Origins(batches), np.arange(100), values, None)


def _seconds(answer: Any, inputs: ModelInputs) -> float:
    begun = time.perf_counter()
    for _ in range(100):
        answer(inputs)
    return (time.perf_counter() - begun) / 100


@contextmanager
def _scorer(place: Place) -> Iterator[tuple[str, str]]:
    path = place.folder / "models.toml"
    path.write_text(
        f'prefix = "{place.prefix}"\n[[models]]\nmodel = "published:m"\npartitions = 4\n'
    )
    environment = place.process_environment(
        models=path, consumer_group=place.prefix, metrics_address="off"
    )
    settings = load_settings(
        models=str(path),
        kafka_bootstrap_servers=place.environment["KAFKA_BOOTSTRAP_SERVERS"] or None,
        schema_registry_url=place.environment["SCHEMA_REGISTRY_URL"] or None,
        embedded_log_path=Path(place.environment.get("EMBEDDED_LOG_PATH", "unused")),
    )
    ((named, rows),) = listed(PaperJob("scorer", settings=settings))
    made = (*rows.inputs, rows.outputs, rows.errors, redrives_of(rows.errors))
    make_all(place.log, {row.name: row for row in made})
    flags = ["-r", str(place.folder / "models-state"), "-s", "5", "-b", "0"]
    cluster = Cluster(
        ClusterOptions("streamrec.dataflows.scorer", flags, 1, 1, environment, place.folder)
    )
    cluster.start()
    try:
        yield named.topics.inputs[0], named.topics.outputs
    finally:
        cluster.stop()


def _paced(place: Place, topics: tuple[str, str], count: int, beside: Any) -> list[float]:
    """Milliseconds of each output, in the order in which they are read."""
    inputs, outputs = topics
    found: list[float] = []
    with closing(place.log.admin()) as admin:
        ends = admin.ends(outputs)
    reader = place.log.reader()
    reader.assign(outputs, ends)

    def send() -> None:
        with closing(place.log.writer()) as writer:
            start_s = time.monotonic()
            for tick in range(round(count / RATE / _TICK_S)):
                time.sleep(max(0.0, start_s + tick * _TICK_S - time.monotonic()))
                now_ms = int(time.time() * 1000)
                each = round(RATE * _TICK_S)
                value = json.dumps({"x": 1.0}).encode()
                writer.write(
                    inputs,
                    [Outgoing(f"k{tick}-{n}".encode(), value, None, now_ms) for n in range(each)],
                )
                writer.flush(30.0)

    _warm(place, topics, reader)
    threads = [Thread(target=send), Thread(target=beside)]
    for thread in threads:
        thread.start()
    give_up_s = time.monotonic() + 60 + count / RATE
    while len(found) < count and time.monotonic() < give_up_s:
        for batch in reader.poll(10_000, 0.005):
            now_ms = time.time() * 1000
            found += (now_ms - batch.times_ms).tolist()
    for thread in threads:
        thread.join()
    reader.close()
    return found


def _warm(place: Place, topics: tuple[str, str], reader: Any) -> None:
    """Wait until it answers."""
    with closing(place.log.writer()) as writer:
        writer.write(topics[0], [Outgoing(b"k", b'{"x": 1.0}')] * 10)
        writer.flush(30.0)
    seen, give_up_s = 0, time.monotonic() + 120
    while seen < 10 and time.monotonic() < give_up_s:
        seen += sum(len(batch) for batch in reader.poll(100, 0.1))


def _publish_all(place: Place, archives: list[Archive], every_s: float) -> None:
    with Publisher(place.log) as publisher:
        for archive in archives:
            time.sleep(every_s)
            publisher.publish("m", archive)


__all__ = ["EVENTS", "NAME", "run"]
