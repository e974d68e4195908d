"""Putting the real parts of `dataflows.scoring` together as the settings say."""

import logging
from functools import partial

from bytewax.dataflow import Dataflow

from connectors.backend import open_log
from connectors.log import SchemaRegistry
from dataflows.assembly import click_source
from dataflows.decoding import DecodeClicks
from dataflows.encoding_errors import EncodeErrors
from dataflows.engine import prepare_recovery_directory
from dataflows.outputs import Outputs, shard_files
from dataflows.reading_back import ERROR_FIELDS, SCORE_FIELDS
from dataflows.registered import decoder_of, encoder_of
from dataflows.replay import settle_replay
from dataflows.scoring import FLOW_ID, Sinks, Steps, build_flow
from dataflows.scoring_steps import EncodeScores, ScoreClicks, scoring_features
from dataflows.settings import Settings, load_settings
from dataflows.user_features import BuildUserFeatures
from models.propensity import PROPENSITY_FILE, load_propensity
from models.user_state import UserState

_logger = logging.getLogger(__name__)

# Nothing here reads a session, so a user's last items need not be kept: 100 bytes, not 600.
_KEPT_ITEMS = 1


def scoring_flow(settings: Settings | None = None) -> Dataflow:
    """Scoring as the environment says. Raises SettingsError, StartError, BadArtifact."""
    settings = settings or load_settings()
    # A group of its own: the main job commits its progress on the same topic.
    group = f"{settings.consumer_group}-scoring"
    settings = settings.model_copy(update={"consumer_group": group})
    settle_replay(settings)
    prepare_recovery_directory()
    log = open_log(settings)
    _logger.info("scoring on %s", log.describe_target())
    registry = log.registry()
    outputs = Outputs(log, registry, settings, FLOW_ID)
    sinks = Sinks(
        scores=outputs.sink(settings.scores_topic, "scores", SCORE_FIELDS),
        errors=outputs.sink(settings.errors_topic, "errors", ERROR_FIELDS),
    )
    steps = scoring_steps(registry, outputs, settings)
    return build_flow(click_source(log, settings, outputs), sinks, steps)


def scoring_steps(registry: SchemaRegistry, outputs: Outputs, settings: Settings) -> Steps:
    """The real steps; asks the registry for the ids of what they write."""
    features = scoring_features()
    model = load_propensity(PROPENSITY_FILE, features.names)
    new_state = partial(UserState, features, settings.session_gap_s * 1_000, _KEPT_ITEMS)
    return Steps(
        decode=DecodeClicks(
            decoder_of(registry, "clicks", settings.unknown_schema == "wait"),
            n_features=len(features),
            shards=settings.shards,
            max_ahead_s=settings.max_ahead_s,
        ),
        user_features=BuildUserFeatures(
            new_state, with_sessions=False, open_files=shard_files(settings)
        ),
        score=ScoreClicks(model),
        encode_scores=EncodeScores(
            encoder_of(registry, settings.scores_topic, "scores"),
            outputs.partitions(settings.scores_topic),
            settings.lanes,
            settings.max_message_bytes,
            model.version,
        ),
        encode_errors=EncodeErrors(
            encoder_of(registry, settings.errors_topic, "errors"),
            outputs.partitions(settings.errors_topic),
            settings.lanes,
            outputs.largest_bytes(settings.errors_topic),
            FLOW_ID,
        ),
    )
