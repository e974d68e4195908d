"""The proof of the scorer: each output and error against what a plain program says it must be."""

import io
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import fastavro
import numpy as np

from benchmarks.place import Place
from benchmarks.processes import BenchmarkError
from streamrec.connectors.local.guarded_process import GuardedProcess
from streamrec.dataflows.job.paper import PaperJob
from streamrec.dataflows.job.settings import load_settings
from streamrec.dataflows.job.topics import make_all
from streamrec.dataflows.scorer import FLOW_ID
from streamrec.dataflows.serving.serve import listed
from streamrec.models.serving.split import split_of
from streamrec.schemas import load
from streamrec.schemas.columns import strings
from tests.proofs.chaos_check import ChaosVerdict, Message, compare, read_topic
from tests.proofs.scorer_feed import OTHER_SCHEMA
from tests.proofs.scorer_plain import NAMES, expected

MODULE = "dataflows.scorer"
SALT = "chaos"
WEIGHTS = {"a": 0.7, "b": 0.3}
_TIMES = {"a": 2, "b": 3}
_MODELS = {"a": "plain/1.0", "b": "plain-three/1.0"}
_HEADER_BYTES = 5
_DRAIN_S = 300.0
_LIST = """
prefix = "{prefix}"
[[models]]
model = "tests.proofs.scorer_models:plain"
[[models]]
model = "tests.proofs.scorer_models:Moody"
[[models]]
model = "tests.proofs.scorer_models:Poisoned"
name = "hanging"
timeout_s = 3
[[models]]
model = "tests.proofs.scorer_models:Poisoned"
name = "leaking"
memory_mb = 100
[[models]]
model = "tests.proofs.scorer_models:PoisonedBatched"
name = "exiting"
timeout_s = 20
[[experiments]]
name = "split"
salt = "{salt}"
[[experiments.variants]]
name = "a"
model = "tests.proofs.scorer_models:plain"
weight = {a}
[[experiments.variants]]
name = "b"
model = "tests.proofs.scorer_models:three"
weight = {b}
"""


@dataclass(frozen=True)
class ScorerTopics:
    """The topics of one run, and the list of its models."""

    models: Path
    prefix: str
    other: str  # whose schema is none of the models'

    @classmethod
    def make(cls, place: Place) -> "ScorerTopics":
        path = place.folder / "served.toml"
        path.write_text(_LIST.format(prefix=place.prefix, salt=SALT, **WEIGHTS))
        job = PaperJob(FLOW_ID, settings=load_settings(models=str(path)))
        rows = [row for _, each in listed(job) for row in (*each.inputs, each.outputs, each.errors)]
        make_all(place.log, {row.name: row for row in rows})
        other = place.make_topic("another", schema=OTHER_SCHEMA)
        return cls(path, place.prefix, other)

    def of(self, name: str, kind: str) -> str:
        return f"{self.prefix}.{name}.1.0.{kind}"

    @property
    def inputs(self) -> list[str]:
        return [self.of(name, "inputs") for name in NAMES]


def drain(environment: Mapping[str, str], folder: Path) -> None:
    """A last run that ends when all is answered: a stop leaves to the next start what waits for a
    model in a process of its own. Raises BenchmarkError."""
    log = folder / "drain.log"
    flags = ["-r", str(folder / "recovery"), "-s", "1", "-b", "0"]
    command = [sys.executable, "-m", "bytewax.run", MODULE, *flags]
    process = GuardedProcess(command, log, {**environment, "STREAMREC_FOLLOW": "false"})
    give_up_s = time.monotonic() + _DRAIN_S
    try:
        while process.running() and time.monotonic() < give_up_s:
            time.sleep(0.05)
        if process.running() or process.status:
            tail = log.read_bytes()[-4_000:].decode(errors="replace")
            raise BenchmarkError(f"the last run did not end in good order\n{tail}")
    finally:
        process.kill()


class ScorerVerdict(NamedTuple):
    """What came of the inputs, and how many answers and errors of each reason there had to be."""

    verdict: ChaosVerdict
    kinds: Counter[str]


def judge_scorer(place: Place, topics: ScorerTopics, committed_only: bool) -> ScorerVerdict:
    """Everything that came out, against what must."""
    schemas = _schemas(place, topics)
    verdict, kinds = ChaosVerdict(0, 0, 0), Counter[str]()
    for name in NAMES:
        source = topics.of(name, "inputs")
        inputs = list(read_topic(place, source, committed_only=False))
        verdict.inputs += len(inputs)
        answers, errors = _wanted(name, source, inputs, schemas, kinds)
        outputs = list(read_topic(place, topics.of(name, "outputs"), committed_only))
        failed = read_topic(place, topics.of(name, "errors"), committed_only)
        verdict.outputs += compare(verdict, answers, map(_output, outputs))
        verdict.errors += compare(verdict, errors, map(_error, failed))
        _check_order(verdict, name, outputs)
    return ScorerVerdict(verdict, kinds)


def _schemas(place: Place, topics: ScorerTopics) -> dict[int, Any]:
    with closing(place.log.registry()) as registry:
        found = [registry.latest(f"{topic}-value") for topic in (*topics.inputs, topics.other)]
    return {each.id: fastavro.parse_schema(json.loads(each.schema)) for each in found}


def _wanted(
    name: str,
    source: str,
    inputs: Sequence[Message],
    schemas: Mapping[int, Any],
    kinds: Counter[str],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Answers and errors by the place of their input."""
    answers: dict[str, Any] = {}
    errors: dict[str, Any] = {}
    variants = _variants(source, inputs) if name == "split" else [None] * len(inputs)
    for message, variant in zip(inputs, variants, strict=True):
        place = f"{source}/{message.partition}/{message.offset}"
        must = expected(name, message, schemas, _TIMES.get(variant or "", 2))
        held = {"key": message.key, "timestamp_ms": message.timestamp_ms}
        kinds[must.reason or "answers"] += 1
        if must.reason is not None:
            own = sorted(message.headers, key=str)
            value = message.value
            errors[place] = {**held, "reason": must.reason, "value": value, "headers": own}
            continue
        said = _told(name, variant, place, dict(message.headers))
        answers[place] = {**held, "answer": must.answer, "headers": said}
    return answers, errors


def _variants(source: str, inputs: Sequence[Message]) -> list[str]:
    """Who answers each, as the split of the experiment says: the same in whatever run."""
    split = split_of(SALT, WEIGHTS)
    by_key = split.of_keys(strings([message.key for message in inputs])).variants.tolist()
    places = np.array([(m.partition, m.offset) for m in inputs], np.int64).reshape(-1, 2)
    by_place = split.of_places(source, places).variants.tolist()
    return [
        split.names[at if message.key is None else of_key]
        for message, of_key, at in zip(inputs, by_key, by_place, strict=True)
    ]


def _told(
    name: str, variant: str | None, place: str, given: dict[str, bytes | None]
) -> dict[str, bytes | None]:
    """The headers of an answer, without how long it took."""
    told: dict[str, bytes | None] = {**given, "streamrec-source": place.encode()}
    if variant is None:
        return {**told, "streamrec-model": f"{name}/1.0".encode()}
    return {
        **told,
        "streamrec-model": _MODELS[variant].encode(),
        "streamrec-experiment": name.encode(),
        "streamrec-variant": variant.encode(),
        "streamrec-mode": b"served",
        "streamrec-propensity": repr(WEIGHTS[variant]).encode(),
    }


def _output(message: Message) -> tuple[str, Any]:
    headers = dict(message.headers)
    assert int(headers.pop("streamrec-took-us") or b"") >= 0
    assert message.value is not None
    held = {"key": message.key, "timestamp_ms": message.timestamp_ms}
    answer = {**held, "answer": json.loads(message.value), "headers": headers}
    return (headers["streamrec-source"] or b"").decode(), answer


_ERRORS = fastavro.parse_schema(json.loads(load("errors")))


def _error(message: Message) -> tuple[str, Any]:
    assert message.value is not None
    body = io.BytesIO(message.value[_HEADER_BYTES:])
    found: Any = fastavro.schemaless_reader(body, _ERRORS, None)
    at: datetime = found["timestamp"]
    return f"{found['topic']}/{found['partition']}/{found['offset']}", {
        "key": found["key"],
        "timestamp_ms": round(at.timestamp() * 1_000),
        "reason": found["reason"],
        "value": found["value"],
        "headers": sorted(((h["name"], h["value"]) for h in found["headers"]), key=str),
    }


def _check_order(verdict: ChaosVerdict, name: str, outputs: Sequence[Message]) -> None:
    """Of each key and partition of inputs, answers come in the order of their inputs."""
    last: dict[tuple[bytes, str], int] = {}
    for message, place, offset in _places(outputs):
        if message.key is None:
            continue
        before = last.get((message.key, place), -1)
        if offset < before:
            verdict.counts["out of order"] += 1
            verdict.offenders.append(f"order: {name} {message.key!r}: {offset} behind {before}")
        last[message.key, place] = offset


def _places(outputs: Sequence[Message]) -> Iterator[tuple[Message, str, int]]:
    for message in outputs:
        source = dict(message.headers)["streamrec-source"] or b""
        place, _, offset = source.decode().rpartition("/")
        yield message, place, int(offset)


__all__ = ["MODULE", "ScorerTopics", "ScorerVerdict", "drain", "judge_scorer"]
