"""Putting real parts together as the settings say: log, registry, schemas, model, steps."""

import json
import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar
from uuid import uuid4

import numpy as np
from bytewax.dataflow import Dataflow

from connectors.backend import open_log
from connectors.log import (
    Log,
    RegisteredSchema,
    RegistryUnavailableError,
    SchemaRegistry,
    UnknownSchemaError,
)
from connectors.sink import LogSink, SinkOptions
from connectors.source import LogSource, SourceOptions
from dataflows.decoding import DecodeClicks
from dataflows.encoding import EncodeErrors, EncodeRecommendations, EncodeSessions
from dataflows.recommender import Sinks, Steps, build_flow
from dataflows.recommending import BuildRecommend, SharedRecommender
from dataflows.settings import Settings, load_settings
from dataflows.topics import subject_of
from dataflows.user_features import BuildUserFeatures
from models.recommender import SessionRecommender
from models.user_features import EVENT_TYPES, FeatureSet, compile_features
from models.user_state import UserState
from schemas import load
from schemas.wire import WireDecoder, WireEncoder

_logger = logging.getLogger(__name__)

_RETRY_S = 2.0

T = TypeVar("T")


class StartError(Exception):
    """The dataflow cannot start; the message says what is missing and what to do."""


class Once(Generic[T]):
    """Makes a thing at the first call; every thread gets the same one."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._made: list[T] = []

    def __call__(self) -> T:
        with self._lock:
            if not self._made:
                self._made.append(self._make())
        return self._made[0]


class PerThread(Generic[T]):
    """Makes a thing of its own for each thread: a worker is a thread, and codecs are for one."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._local = threading.local()

    def __call__(self) -> T:
        if not hasattr(self._local, "made"):
            self._local.made = self._make()
        made: T = self._local.made
        return made


def recommender_flow(settings: Settings | None = None) -> Dataflow:
    """The main job as the environment says. Raises SettingsError, StartError."""
    settings = settings or load_settings()
    log = open_log(settings)
    _logger.info("recommender on %s", log.describe_target())
    return build_flow(
        click_source(log, settings),
        Sinks(
            recommendations=sink(log, settings, settings.recommendations_topic),
            sessions=sink(log, settings, settings.sessions_topic),
            errors=sink(log, settings, settings.errors_topic),
        ),
        recommender_steps(log, settings),
    )


def click_source(log: Log, settings: Settings) -> LogSource:
    return LogSource(
        log,
        SourceOptions(
            topic=settings.clicks_topic,
            group=settings.consumer_group,
            start=settings.start_from,
            follow=settings.follow,
            lanes=settings.lanes,
            batch_messages=settings.batch_messages,
            gather_ms=settings.gather_ms,
        ),
    )


def sink(log: Log, settings: Settings, topic: str) -> LogSink:
    return LogSink(log, SinkOptions(topic, settings.lanes))


def recommender_steps(log: Log, settings: Settings) -> Steps:
    """The real steps; asks the registry for the ids of what they write."""
    registry = log.registry()
    features = compile_features()
    shared = Once(lambda: SharedRecommender(make_recommender(settings, features)))
    recommendations = encoder_of(registry, settings.recommendations_topic, "recommendations")
    sessions = encoder_of(registry, settings.sessions_topic, "sessions")
    errors = encoder_of(registry, settings.errors_topic, "errors")
    count = partial(PartitionCount, log)
    return Steps(
        decode=decode_step(registry, settings, features),
        user_features=BuildUserFeatures(user_state_maker(settings, features)),
        recommend=BuildRecommend(
            shared,
            asks=np.array([event_type in settings.recommend_on for event_type in EVENT_TYPES]),
            top_k=settings.top_k,
            share=settings.share_sessions,
        ),
        encode_recommendations=EncodeRecommendations(
            recommendations,
            count(settings.recommendations_topic),
            settings.lanes,
            settings.max_message_bytes,
            lambda: shared().recommender.info,
            features.digest,
        ),
        encode_sessions=EncodeSessions(
            sessions, count(settings.sessions_topic), settings.lanes, uuid4().hex
        ),
        encode_errors=EncodeErrors(errors, count(settings.errors_topic), settings.lanes),
    )


def decode_step(registry: SchemaRegistry, settings: Settings, features: FeatureSet) -> DecodeClicks:
    wait = settings.unknown_schema == "wait"
    return DecodeClicks(
        PerThread(lambda: WireDecoder(load("clicks"), partial(schema_by_id, registry, wait))),
        n_features=len(features),
        shards=settings.shards,
        max_ahead_s=settings.max_ahead_s,
    )


def user_state_maker(settings: Settings, features: FeatureSet) -> Callable[[], UserState]:
    return partial(UserState, features, settings.session_gap_s * 1_000, settings.session_items)


def make_recommender(settings: Settings, features: FeatureSet) -> SessionRecommender:
    if settings.model == "none":
        return SessionRecommender()
    raise NotImplementedError


def schema_by_id(registry: SchemaRegistry, wait: bool, schema_id: int) -> str:
    """A writer's schema. While the registry is away: wait, or let the record go to errors."""
    while True:
        try:
            return registry.by_id(schema_id)
        except RegistryUnavailableError as error:
            if not wait:
                _logger.warning("schema id %d: %s; its records go to errors", schema_id, error)
                raise UnknownSchemaError(
                    f"schema id {schema_id} cannot be looked up: {error}"
                ) from error
            _logger.warning("schema id %d: %s; waiting", schema_id, error)
            time.sleep(_RETRY_S)


def encoder_of(registry: SchemaRegistry, topic: str, schema_name: str) -> Callable[[], WireEncoder]:
    """The encoder of a topic, under the id that `topics create` registered for its schema."""
    schema = load(schema_name)
    subject = subject_of(topic)
    registered = _await_latest(registry, subject)
    if json.loads(registered.schema) != json.loads(schema):
        raise StartError(
            f"subject {subject!r} expected the schema of schemas/{schema_name}.avsc, got version "
            f"{registered.version}, which differs; run `streamrec topics create` to register it"
        )
    return PerThread(lambda: WireEncoder(schema, registered.id))


def _await_latest(registry: SchemaRegistry, subject: str) -> RegisteredSchema:
    while True:
        try:
            return registry.latest(subject)
        except UnknownSchemaError as error:
            raise StartError(
                f"subject {subject!r} expected a registered schema, got none; "
                "run `streamrec topics create` first"
            ) from error
        except RegistryUnavailableError as error:
            _logger.warning("%s; trying again in %.0f s", error, _RETRY_S)
            time.sleep(_RETRY_S)


class PartitionCount:
    """How many partitions a topic has, looked up at most every `REFRESH_S`."""

    REFRESH_S = 30.0

    def __init__(self, log: Log, topic: str) -> None:
        self._log = log
        self._topic = topic
        self._until = 0.0
        self._count = 0

    def __call__(self) -> int:
        if time.monotonic() >= self._until:
            admin = self._log.admin()
            try:
                self._count = len(admin.bounds(self._topic))
            finally:
                admin.close()
            self._until = time.monotonic() + self.REFRESH_S
        return self._count


def shipped_model() -> Path:
    """Folder of the artifact that comes with the project."""
    return Path(__file__).parent.parent / "models" / "artifacts" / "default"
