"""Pipelines that are written down on the log itself, so that any machine serves them by name.

The topic `pipelines` has one partition and is compacted: key is a pipeline's name, value what
`KeptPipeline` holds, as JSON; a tombstone forgets it.
"""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from streamrec.connectors.log import Log, LogError, Outgoing, UnknownTopicError
from streamrec.connectors.making_topics import ensure_topics
from streamrec.connectors.reading import read_all
from streamrec.dataflows.job.topics import Topic
from streamrec.dataflows.serving.pipelines import PROFILES, BadModelList, Pipeline
from streamrec.dataflows.serving.reading import checked_list
from streamrec.models.serving.contract import NAME, Metadata

PIPELINES = Topic(
    "pipelines",
    key_doc="the pipeline's name",
    doc="where pipelines are kept that `streamrec pipeline create` made",
    format="json",
    partitions=1,  # the order of what was written decides
    configs={"cleanup.policy": "compact"},
)
_FLUSH_S = 30.0


class BadKeptPipeline(LogError):
    """What the log holds of a pipeline is not what was written; the message names the field."""


@dataclass(frozen=True, slots=True)
class KeptVersion:
    """A version that was created: what its model said then, and which topics are its own."""

    metadata: Metadata
    topics: tuple[str, ...]  # that were made for it, those of its redrives too

    @property
    def version(self) -> str:
        return self.metadata.version


@dataclass(frozen=True, slots=True)
class KeptPipeline:
    """A pipeline as the log keeps it."""

    name: str
    prefix: str
    entry: Mapping[str, Any]  # the keys of a `[[models]]` of the list of models
    version: str  # the one that is served: MAJOR.MINOR
    versions: tuple[KeptVersion, ...]  # in the order in which they were created

    @property
    def current(self) -> KeptVersion:
        """The version that is served."""
        return next(each for each in self.versions if each.version == self.version)

    @property
    def model(self) -> str:
        """The name by which its model is loaded."""
        return str(self.entry["model"])

    def pipeline(self, folder: Path | None = None) -> Pipeline:
        """As the list of models would have it; modules are found from `folder`, or from where
        this process runs. Raises BadKeptPipeline."""
        return pipeline_of(self.name, self.prefix, self.entry, folder)


def pipeline_of(
    name: str, prefix: str, entry: Mapping[str, Any], folder: Path | None = None
) -> Pipeline:
    """One entry of a list, checked as the list is. Raises BadKeptPipeline."""
    # Without its name, since others by theirs (`model:OTHER`) are not in this list.
    content = {"prefix": prefix, "models": [dict(entry)]}
    try:
        models = checked_list(content, f"pipeline {name!r}", PROFILES[0], folder or Path.cwd())
    except BadModelList as error:
        raise BadKeptPipeline(str(error).replace("models[0].", "")) from error
    return replace(models.pipelines[0], name=name, place=f"pipeline {name!r}")


@dataclass(frozen=True, slots=True)
class KeptPipelines:
    """All that the topic holds."""

    good: Mapping[str, KeptPipeline]  # by name, sorted
    bad: Mapping[str, BadKeptPipeline]  # what is wrong with the others


def read_kept(log: Log, topic: str = PIPELINES.name) -> KeptPipelines:
    """What is kept now; nothing where there is no such topic. Raises LogError."""
    good: dict[str, KeptPipeline] = {}
    bad: dict[str, BadKeptPipeline] = {}
    for name, value in sorted(_newest(log, topic).items()):
        try:
            good[name] = _parsed(name, value, topic)
        except BadKeptPipeline as error:
            bad[name] = error
    return KeptPipelines(good, bad)


def keep(log: Log, kept: KeptPipeline, topic: str = PIPELINES.name, replication: int = 1) -> None:
    """Write a pipeline down; makes the topic if need be. Raises LogError."""
    ensure_topics(log, [replace(PIPELINES, replication=replication).spec(topic)], {})
    _write(log, topic, kept.name, _text(kept))


def forget(log: Log, name: str, topic: str = PIPELINES.name) -> None:
    """Write down that there is no such pipeline. Raises LogError."""
    _write(log, topic, name, None)


def _newest(log: Log, topic: str) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    try:
        for record in read_all(log, topic):
            name = (record.key or b"").decode(errors="backslashreplace")
            if record.value is None:
                found.pop(name, None)
            else:
                found[name] = record.value
    except UnknownTopicError:
        return {}
    return found


def _write(log: Log, topic: str, name: str, value: bytes | None) -> None:
    with closing(log.writer()) as writer:
        writer.write(topic, [Outgoing(name.encode(), value, partition=0)])
        writer.flush(_FLUSH_S)


class _Record(BaseModel):
    model_config = ConfigDict(strict=True)  # a newer minor format may have keys that we ignore


class _Version(_Record):
    metadata: Metadata
    topics: tuple[str, ...]


class _Kept(_Record):
    format: Literal[1] = 1
    prefix: str
    entry: dict[str, Any]
    version: str
    versions: tuple[_Version, ...] = Field(min_length=1)


def _text(kept: KeptPipeline) -> bytes:
    versions = tuple(_Version(metadata=each.metadata, topics=each.topics) for each in kept.versions)
    record = _Kept(
        prefix=kept.prefix, entry=dict(kept.entry), version=kept.version, versions=versions
    )
    return record.model_dump_json().encode()


def _parsed(name: str, value: bytes, topic: str) -> KeptPipeline:
    where = f"topic {topic!r}: pipeline {name!r}"
    if not NAME.fullmatch(name):  # it becomes part of paths
        raise BadKeptPipeline(
            f"{where} expected a name of letters, digits, '-' and '_', a letter or digit first"
        )
    try:
        record = _Kept.model_validate_json(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        message = first["msg"].removeprefix("Input should be ")
        raise BadKeptPipeline(
            f"{where}: {f'field {place} ' if place else ''}expected "
            f"{message[0].lower()}{message[1:]}, got {str(first['input'])[:80]!r}; "
            "create it anew, or delete it"
        ) from error
    kept = KeptPipeline(
        name,
        record.prefix,
        record.entry,
        record.version,
        tuple(KeptVersion(each.metadata, each.topics) for each in record.versions),
    )
    if all(each.version != kept.version for each in kept.versions):
        known = ", ".join(each.version for each in kept.versions)
        raise BadKeptPipeline(
            f"{where}: field version expected one of {known}, got {kept.version!r}"
        )
    kept.pipeline()  # raises where the entry is none
    return kept


__all__ = [
    "PIPELINES",
    "BadKeptPipeline",
    "KeptPipeline",
    "KeptPipelines",
    "KeptVersion",
    "forget",
    "keep",
    "pipeline_of",
    "read_kept",
]
