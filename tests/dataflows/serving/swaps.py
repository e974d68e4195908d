"""A scorer of one published model, who publishes, and what must be true of its answers."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from streamrec.connectors.log import Log
from streamrec.connectors.reading import read_all
from streamrec.dataflows.engine.stopping import Stopping
from streamrec.dataflows.job.settings import Settings
from streamrec.dataflows.job.topics import MODEL_EVENTS, MODELS, make_all
from streamrec.dataflows.learning.model_events import ModelEvent
from streamrec.dataflows.learning.published import ModelTopics
from streamrec.dataflows.learning.publishing import Publisher
from streamrec.dataflows.serving.swap.timeline import ModelVersion
from streamrec.dataflows.serving.swap.told import ToldOfPipeline
from streamrec.models.learning.archives import pack_folder
from tests.dataflows.learning.trained_models import constant
from tests.dataflows.serving.bench import ScorerBench

ENTRY = '[[models]]\nmodel = "published:m"\npartitions = 4\n'


class Swaps:
    """A scorer of one published model, and who publishes."""

    def __init__(self, bench: ScorerBench, folder: Path) -> None:
        self.bench, self.folder = bench, folder
        self.log: Log = bench.log
        self.topics = ModelTopics.of(bench.settings)
        make_all(self.log, {self.topics.models: MODELS, self.topics.events: MODEL_EVENTS})
        self.sent = 0

    def publish(self, folder: Path, **given: Any) -> str:
        with Publisher(self.log, self.topics) as publisher:
            return publisher.publish("m", pack_folder(folder), **given)

    def constant(self, answer: float) -> str:
        return self.publish(constant(self.folder / f"constant-{answer}", answer))

    def send(self, count: int, value: Any = 1.0) -> None:
        values = [{"x": value}] * count
        keys = [f"k{self.sent + n}".encode() for n in range(count)]
        self.bench.send("m", values, keys)
        self.sent += count

    def events(self, *kinds: str) -> list[ModelEvent]:
        with Publisher(self.log, self.topics) as publisher:
            return [each for each in publisher.events.read("m") if each.kind in kinds]

    def answered(self, topic: str = "outputs") -> dict[tuple[int, int], tuple[Any, str]]:
        """By place of the input: the answer, and the version that the output names."""
        found = {}
        for record in read_all(self.log, self.bench.topic("m", topic)):
            headers = dict(record.headers)
            _, partition, offset = (headers["streamrec-source"] or b"").decode().rsplit("/", 2)
            place = int(partition), int(offset)
            assert place not in found, "answered twice"
            by = (headers["streamrec-model"] or b"").decode()
            found[place] = json.loads(record.value or b"")["answer"], by.removeprefix("m/")
        return found

    def check(self, answers: dict[str, float]) -> Counter[str]:
        """Each input is answered once, by the version that model-events says, with its answer."""
        told = ToldOfPipeline()
        for event in self.events("began", "taken_back", "ended"):
            told.take(event)
        found = self.answered()
        assert len(found) == self.sent
        topic = self.bench.topic("m", "inputs")
        for (partition, offset), (answer, version) in found.items():
            assert told.timelines[topic, partition].at(offset) == ModelVersion("m", version)
            assert answer == answers[version]
        return Counter(version for _, version in found.values())

    @contextmanager
    def running(self, *entries: str, **given: Any) -> Iterator[None]:
        stopping, failed = Stopping(), list[BaseException]()

        def run() -> None:
            try:
                self.bench.run(*entries or (ENTRY,), stopping=stopping, follow=True, **given)
            except BaseException as error:  # noqa: BLE001  # told below
                failed.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            stopping.ask("test")
            thread.join(60.0)
        assert not thread.is_alive()
        assert failed == []

    def until(self, done: Callable[[], object], within_s: float = 30.0) -> float:
        """Seconds until it is so."""
        begun = time.monotonic()
        while not done():
            assert time.monotonic() < begun + within_s, self.events("refused", "began")
            time.sleep(0.02)
        return time.monotonic() - begun


@pytest.fixture
def make_swaps(
    request: pytest.FixtureRequest,
    job_settings: Callable[..., Settings],
    topic_name: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Callable[..., Swaps]:
    def make(kafka: bool = False) -> Swaps:
        given = {}
        if kafka:
            found = request.getfixturevalue("kafka_settings")
            request.getfixturevalue("kafka_log")
            names = ("kafka_bootstrap_servers", "kafka_options", "schema_registry_url")
            given = {name: getattr(found, name) for name in names}
        recovery = tmp_path / "recovery"
        monkeypatch.setenv("BYTEWAX_RECOVERY_DIRECTORY", str(recovery))
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        settings = job_settings(lanes=4, shards=4, **given)
        return Swaps(ScorerBench(settings, topic_name[:60].rstrip("-"), recovery), tmp_path)

    return make


__all__ = ["ENTRY", "Swaps", "make_swaps"]
