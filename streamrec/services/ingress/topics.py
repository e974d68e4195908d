"""Topics that the settings allow, and pipelines that the log keeps: what a record of each is."""

from contextlib import closing
from dataclasses import dataclass
from typing import Any

from streamrec.connectors.log import (
    Headers,
    Log,
    LogError,
    Outgoing,
    RegistryUnavailableError,
    SchemaError,
    UnknownSchemaError,
)
from streamrec.connectors.making_topics import subject_of
from streamrec.dataflows.errors.failed import CONTENT_TYPE
from streamrec.dataflows.job.settings import Settings
from streamrec.dataflows.serving.kept_topics import UnknownPipeline, served_pipelines
from streamrec.schemas.json_codec import JsonEncoder, MisfitError
from streamrec.services.http.problems import Problem
from streamrec.services.ingress.events import misfit_problem
from streamrec.services.ingress.looked_up import LookedUp


@dataclass(frozen=True, slots=True)
class TopicRecords:
    """How a topic's records are made."""

    encoder: JsonEncoder | None  # of a topic with a schema

    def make(
        self, body: bytes, value: Any, content_type: str, key: bytes | None, headers: Headers
    ) -> Outgoing:
        """Of a body, and what it says where it is JSON (`value`). Raises Problem (422)."""
        if self.encoder is None or content_type != "application/json":
            said = (CONTENT_TYPE, content_type.encode("latin-1", "replace"))
            return Outgoing(key, body, [*headers, said])
        try:
            return Outgoing(key, self.encoder.encode(value), headers or None)
        except MisfitError as error:
            raise misfit_problem(error) from None


class AllowedTopics:
    """`POST /topics/{name}`."""

    def __init__(self, log: Log, names: frozenset[str]) -> None:
        self._log = log
        self._names = names
        self._records: LookedUp[TopicRecords] = LookedUp(self._look)

    async def records(self, name: str) -> TopicRecords:
        """Raises Problem (404, 503)."""
        if name not in self._names:
            raise Problem(404, "topic expected one that STREAMREC_INGRESS_TOPICS has, got another")
        try:
            return await self._records.get(name)
        except (RegistryUnavailableError, SchemaError, LogError):
            raise Problem(503, "the topic's schema cannot be had", retry_after_s=1) from None

    def _look(self, name: str) -> TopicRecords:
        with closing(self._log.registry()) as registry:
            try:
                registered = registry.latest(subject_of(name))
            except UnknownSchemaError:
                return TopicRecords(None)
        return TopicRecords(JsonEncoder(registered.schema, registered.id))


@dataclass(frozen=True, slots=True)
class TargetTopics:
    """Where a pipeline's inputs go and its answers come from."""

    inputs: str
    outputs: str
    errors: str
    content_types: tuple[str, ...]  # of what it takes; empty: JSON


class KeptTargets:
    """`POST /pipelines/{name}`."""

    def __init__(self, log: Log, settings: Settings) -> None:
        self._log = log
        self._settings = settings
        self._targets: LookedUp[TargetTopics | None] = LookedUp(self._look, (UnknownPipeline,))

    async def target(self, name: str) -> TargetTopics:
        """Raises Problem (404, 409, 503)."""
        try:
            found = await self._targets.get(name)
        except UnknownPipeline:
            raise Problem(404, "pipeline expected one that was created, got another") from None
        except (LogError, SchemaError, RegistryUnavailableError):
            raise Problem(503, "the log is away", retry_after_s=1) from None
        if found is None:
            raise Problem(
                409, "pipeline expected one with inputs of its own, got one that reads other topics"
            )
        return found

    def _look(self, name: str) -> TargetTopics | None:
        (named,) = served_pipelines(self._log, self._settings, [name])
        topics = named.topics
        if topics.own_inputs is None:
            return None
        return TargetTopics(
            topics.own_inputs, topics.outputs, topics.errors, named.metadata[0].content_types
        )


__all__ = [
    "AllowedTopics",
    "KeptTargets",
    "TargetTopics",
    "TopicRecords",
]
