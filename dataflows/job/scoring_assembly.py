"""Putting the real parts of `dataflows.scoring` together as the settings say."""

import logging
from functools import partial

from bytewax.dataflow import Dataflow

from streamrec.connectors.backend import open_log
from streamrec.connectors.log import SchemaRegistry
from streamrec.dataflows.engine.running import prepare_recovery_directory
from streamrec.dataflows.errors.encode import EncodeErrors
from streamrec.dataflows.job.assembly import click_source
from streamrec.dataflows.job.codecs import decoder_of, encoder_of
from streamrec.dataflows.job.outputs import Outputs, shard_files
from streamrec.dataflows.job.reading_back import ERROR_FIELDS, SCORE_FIELDS
from streamrec.dataflows.job.settings import Settings, load_settings
from streamrec.dataflows.job.starting_elsewhere import settle_replay
from streamrec.dataflows.scoring import FLOW_ID, Sinks, Steps, build_flow
from streamrec.dataflows.steps.decode import DecodeClicks
from streamrec.dataflows.steps.score import EncodeScores, ScoreClicks, scoring_features
from streamrec.dataflows.steps.user_features import BuildUserFeatures
from streamrec.models.propensity import PROPENSITY_FILE, load_propensity
from streamrec.models.users.state import UserState

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
