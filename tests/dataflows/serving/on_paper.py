"""The scorer on paper: a list of models, what came, and what it wrote by topic."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bytewax.dataflow import Dataflow
from bytewax.testing import run_main

from streamrec import PaperJob, Topic
from streamrec.connectors.log import Headers, RawBatch
from streamrec.dataflows.job.paper import batch_of
from streamrec.dataflows.job.settings import load_settings
from streamrec.dataflows.scorer import build_flow
from streamrec.schemas import load
from streamrec.schemas.json_codec import JsonDecoder

MODELS = "tests.dataflows.serving.served_models"
START_MS = 1_767_225_600_000


class Written(NamedTuple):
    """A record that was written."""

    partition: int
    key: bytes | None
    value: bytes
    headers: dict[str, bytes | None]
    time_ms: int | None

    @property
    def json(self) -> Any:
        return json.loads(self.value)

    @property
    def source(self) -> tuple[int, int]:
        """Partition and offset of its input."""
        _, partition, offset = (self.headers["streamrec-source"] or b"").decode().rsplit("/", 2)
        return int(partition), int(offset)


class Scored:
    """What a run wrote."""

    def __init__(self, job: PaperJob) -> None:
        self._job = job

    def records(self, topic: str) -> list[Written]:
        """In order of writing for each partition."""
        found = []
        for _, out in self._job.written.get(topic, ()):
            for row, value in enumerate(out.values):
                headers = {} if out.headers is None else dict(out.headers[row])
                time_ms = None if out.times_ms is None else int(out.times_ms[row])
                found.append(Written(out.partition, out.keys[row], value, headers, time_ms))
        return found

    def values(self, topic: str) -> list[Any]:
        return [record.json for record in self.records(topic)]

    def errors(self, topic: str) -> list[dict[str, Any]]:
        """By partition and offset of the original."""
        decode = JsonDecoder(lambda _: load("errors")).decode
        found = [decode(record.value) for record in self.records(topic)]
        return sorted(found, key=lambda error: (error["partition"], error["offset"]))

    def reasons(self, topic: str) -> dict[int, str]:
        """By offset."""
        return {error["offset"]: error["reason"] for error in self.errors(topic)}


def write_list(folder: Path, text: str) -> Path:
    """A list of models in a file."""
    path = folder / "served.toml"
    path.write_text(text.replace("MODELS", MODELS))
    return path


def given(
    topic: str,
    values: Sequence[Any],
    partition: int = 0,
    keys: Sequence[bytes | None] | None = None,
    headers: Sequence[Headers] | None = None,
    schema: str | None = None,
    first_offset: int = 0,
) -> RawBatch:
    """Records of a topic: values as JSON, or Avro of a schema, or bytes that go as they are."""
    row = Topic(
        topic,
        format="json" if schema is None else "avro",
        schema_text=schema,
        key_beside=True,
        named_by_setting=False,
    )
    times = [START_MS + number for number in range(len(values))]
    return batch_of(row, values, partition, first_offset, keys, headers, times)


def scored(models: Path | str, inputs: Mapping[str, Sequence[RawBatch]], **settings: Any) -> Scored:
    """A run of the scorer, in this process, over what there is."""
    job = PaperJob("scorer", inputs, load_settings(models=str(models), **settings))
    flow: Dataflow = build_flow(job)
    run_main(flow)  # type: ignore[no-untyped-call]
    return Scored(job)
