"""Putting the real parts of the main job together as the settings say."""

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from uuid import uuid4

import numpy as np
from bytewax.dataflow import Dataflow

from connectors.backend import open_log
from connectors.log import Log
from connectors.source import LogSource, SourceOptions
from dataflows.decoding import DecodeClicks
from dataflows.encoding import EncodeRecommendations, EncodeSessions
from dataflows.encoding_errors import EncodeErrors
from dataflows.engine import Stopping, prepare_recovery_directory
from dataflows.outputs import Outputs, shard_files
from dataflows.reading_back import ANSWER_FIELDS, ERROR_FIELDS
from dataflows.recommender import Sinks, Steps, build_flow
from dataflows.recommending import BuildRecommend, SharedRecommender
from dataflows.registered import decoder_of, encoder_of
from dataflows.settings import Settings, load_settings
from dataflows.sharing import Once
from dataflows.user_features import BuildUserFeatures
from models.recommender import SessionRecommender
from models.user_features import EVENT_TYPES, FeatureSet, compile_features
from models.user_state import UserState

_logger = logging.getLogger(__name__)

SHIPPED_MODEL = Path(__file__).parent.parent / "models" / "artifacts" / "default"


def recommender_flow(settings: Settings | None = None) -> Dataflow:
    """The main job as the environment says. Raises SettingsError, StartError."""
    settings = settings or load_settings()
    prepare_recovery_directory()
    log = open_log(settings)
    registry = log.registry()
    outputs = Outputs(log, registry, settings)
    features = compile_features()
    shared = Once(lambda: SharedRecommender(make_recommender(settings, features)))
    recommendations, sessions = settings.recommendations_topic, settings.sessions_topic
    errors = settings.errors_topic
    _logger.info("recommender on %s", log.describe_target())
    return build_flow(
        click_source(log, settings),
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
            recommend=BuildRecommend(
                shared,
                asks=np.array([event_type in settings.recommend_on for event_type in EVENT_TYPES]),
                top_k=settings.top_k,
                share=settings.share_sessions,
            ),
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
                uuid4().hex,
            ),
            encode_errors=EncodeErrors(
                encoder_of(registry, errors, "errors"), outputs.partitions(errors), settings.lanes
            ),
        ),
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
            stopping=Stopping().on_signals(),
        ),
    )


def user_state_maker(settings: Settings, features: FeatureSet) -> Callable[[], UserState]:
    return partial(UserState, features, settings.session_gap_s * 1_000, settings.session_items)


def make_recommender(settings: Settings, features: FeatureSet) -> SessionRecommender:
    if settings.model == "none":
        return SessionRecommender()
    raise NotImplementedError


__all__ = ["SHIPPED_MODEL", "Log", "click_source", "recommender_flow"]
