"""Putting the real parts of the main job together as the settings say."""

import logging
import weakref
from collections.abc import Callable
from functools import partial
from pathlib import Path
from uuid import uuid4

import numpy as np
from bytewax.dataflow import Dataflow

from streamrec import models
from streamrec.connectors.backend import open_log
from streamrec.connectors.log import Log, SchemaRegistry
from streamrec.connectors.source import LogSource, SourceOptions
from streamrec.dataflows.engine.running import Stopping, prepare_recovery_directory
from streamrec.dataflows.errors.encode import EncodeErrors
from streamrec.dataflows.job.codecs import StartError, decoder_of, encoder_of
from streamrec.dataflows.job.once import Once
from streamrec.dataflows.job.outputs import Outputs, shard_files, source_start
from streamrec.dataflows.job.reading_back import ANSWER_FIELDS, ERROR_FIELDS
from streamrec.dataflows.job.settings import Settings, load_settings
from streamrec.dataflows.job.starting_elsewhere import settle_replay
from streamrec.dataflows.recommender import FLOW_ID, Sinks, Steps, build_flow
from streamrec.dataflows.steps.decode import DecodeClicks
from streamrec.dataflows.steps.encode import EncodeRecommendations, EncodeSessions
from streamrec.dataflows.steps.recommend import BuildRecommend, RecommendOptions, SharedRecommender
from streamrec.dataflows.steps.session_table import SessionTable
from streamrec.dataflows.steps.user_features import BuildUserFeatures
from streamrec.models.sessions.recommender import SessionRecommender
from streamrec.models.users.features import (
    EVENT_TYPES,
    FeatureSet,
    compile_features,
    declared_features,
)
from streamrec.models.users.state import UserState

_logger = logging.getLogger(__name__)

SHIPPED_MODEL = Path(models.__file__).parent / "artifacts" / "default"


def recommender_flow(settings: Settings | None = None) -> Dataflow:
    """The main job as the environment says. Raises SettingsError, StartError."""
    settings = settings or load_settings()
    settle_replay(settings)
    prepare_recovery_directory()
    log = open_log(settings)
    registry = log.registry()
    outputs = Outputs(log, registry, settings, FLOW_ID)
    features = compile_features(declared_features(settings.windows))
    run = uuid4().hex
    shared = Once(lambda: share_recommender(log, registry, settings, features, run))
    shared()  # a model or index that cannot be had is told before anything is read
    recommendations, sessions = settings.recommendations_topic, settings.sessions_topic
    errors = settings.errors_topic
    _logger.info("recommender on %s", log.describe_target())
    return build_flow(
        click_source(log, settings, outputs),
        Sinks(
            recommendations=outputs.sink(recommendations, "recommendations", ANSWER_FIELDS),
            sessions=outputs.sink(sessions, "sessions", None),
            errors=outputs.sink(errors, "errors", ERROR_FIELDS),
        ),
        Steps(
            decode=DecodeClicks(
                decoder_of(registry, "clicks", settings.unknown_schema == "wait"),
                n_features=len(features),
                shards=settings.shards,
                max_ahead_s=settings.max_ahead_s,
            ),
            user_features=BuildUserFeatures(
                user_state_maker(settings, features), open_files=shard_files(settings)
            ),
            recommend=BuildRecommend(shared, recommend_options(settings)),
            encode_recommendations=EncodeRecommendations(
                encoder_of(registry, recommendations, "recommendations"),
                outputs.partitions(recommendations),
                settings.lanes,
                settings.max_message_bytes,
                lambda: shared().recommender.info,
                features.digest,
            ),
            encode_sessions=EncodeSessions(
                encoder_of(registry, sessions, "sessions"),
                outputs.partitions(sessions),
                settings.lanes,
                run,
            ),
            encode_errors=EncodeErrors(
                encoder_of(registry, errors, "errors"),
                outputs.partitions(errors),
                settings.lanes,
                outputs.largest_bytes(errors),
                FLOW_ID,
            ),
        ),
    )


def click_source(log: Log, settings: Settings, outputs: Outputs) -> LogSource:
    return LogSource(
        log,
        SourceOptions(
            topic=settings.clicks_topic,
            group=settings.consumer_group,
            start=settings.start_from,
            follow=settings.follow,
            skip_lost=settings.lost_records == "skip",
            lanes=settings.lanes,
            batch_messages=settings.batch_messages,
            gather_ms=settings.gather_ms,
            remember_start=source_start(settings),
            progress=outputs.progress,
            ending=outputs.ending,
            stopping=Stopping().on_signals(),
        ),
    )


def user_state_maker(settings: Settings, features: FeatureSet) -> Callable[[], UserState]:
    return partial(UserState, features, settings.session_gap_s * 1_000, settings.session_items)


def recommend_options(settings: Settings) -> RecommendOptions:
    return RecommendOptions(
        asks=np.array([event_type in settings.recommend_on for event_type in EVENT_TYPES]),
        top_k=settings.top_k,
        share=settings.share_sessions,
        online=settings.model == "river",
    )


def share_recommender(
    log: Log, registry: SchemaRegistry, settings: Settings, features: FeatureSet, run: str
) -> SharedRecommender:
    """The recommender of this process, with what the topic of sessions holds. Raises StartError."""
    recommender = make_recommender(settings, has_messages(log, settings.sessions_topic))
    unknown = set(recommender.info.user_features) - set(features.names)
    if unknown:
        raise StartError(
            f"model {recommender.info.version} expected the user features {sorted(unknown)}, which "
            "are not declared; train it anew with the features as they are"
        )
    columns = [features.names.index(name) for name in recommender.info.user_features]
    shared = SharedRecommender(recommender, np.array(columns, np.int64))
    if settings.share_sessions:
        decoder = decoder_of(registry, "sessions", wait=True)()
        table = SessionTable(
            log, settings.sessions_topic, run, weakref.ref(shared), decoder, settings.session_items
        )
        table.follow(table.load(settings.session_history_s))
        shared.keeps.append(table)
    return shared


def make_recommender(settings: Settings, has_history: bool) -> SessionRecommender:
    """The trained ranker, or none, over an index. Raises BadArtifact.

    The index is the one that training left, where that was on the shop's own clicks and the topic
    of sessions holds none yet; else it starts empty, so that no click is learned twice.
    """
    if settings.model != "artifact":
        return SessionRecommender()
    trained = SessionRecommender.load(settings.model_path or SHIPPED_MODEL)
    if settings.model_path is not None and not has_history:
        return trained
    empty = SessionRecommender(
        bounds=trained.bounds,
        weights=trained.weights,
        ranker=trained.ranker,
        methods=trained.methods,
        candidates=trained.slots,
        user_features=trained.info.user_features,
    )
    empty.info = trained.info
    return empty


def has_messages(log: Log, topic: str) -> bool:
    admin = log.admin()
    try:
        return any(bounds.high > bounds.low for bounds in admin.bounds(topic).values())
    finally:
        admin.close()


__all__ = ["SHIPPED_MODEL", "Log", "click_source", "recommender_flow"]
