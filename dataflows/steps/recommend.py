"""The step `recommend`: a session and its user's features become the best items; then learning."""

import logging
import weakref
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from streamrec.connectors.log import Log
from streamrec.connectors.reading import has_messages
from streamrec.dataflows.errors.failed import Failed
from streamrec.dataflows.job.report import ServedModel
from streamrec.dataflows.job.settings import Settings
from streamrec.dataflows.job.start_error import StartError
from streamrec.dataflows.job.topics import SESSIONS
from streamrec.dataflows.steps.batches import Clicks, ShardClicks
from streamrec.dataflows.steps.sampled import in_share
from streamrec.dataflows.steps.serving import Serving
from streamrec.dataflows.steps.session_table import SessionTable
from streamrec.dataflows.steps.variant_columns import InVariant
from streamrec.models.artifact import MANIFEST
from streamrec.models.contract import (
    ModelInfo,
    Ranking,
    Sessions,
    check_inputs,
    check_ranking,
    is_one_by_one,
    scope_of,
)
from streamrec.models.loading import SHIPPED_MODEL, BadModel, Model, ModelOptions, load_model
from streamrec.models.sessions.variant_specs import parse_variants
from streamrec.models.sessions.variants import Variants, load_variants
from streamrec.models.users import kernels
from streamrec.models.users.features import EVENT_TYPES, FeatureSet
from streamrec.schemas.columns import Bytes, take
from streamrec.schemas.reasons import Reason

if TYPE_CHECKING:  # steps run without the engine, which a job wires
    from streamrec.dataflows.job.job import Job

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LoggedInputs:
    """What the ranker saw of the items of some rankings."""

    of: NDArray[np.int64]  # (m,) which rankings
    values: NDArray[np.float32]  # (total, n_features) ranking after ranking, best first
    weight: float  # for how many answers each stands


@dataclass(frozen=True, slots=True)
class Recommended:
    """Rankings for some rows of a batch of clicks."""

    shard: str
    clicks: Clicks
    rows: NDArray[np.int64]  # (m,)
    ranking: Ranking  # of m rows
    info: ModelInfo
    variant: InVariant | None = None  # that ranked; None: no experiment
    inputs: LoggedInputs | None = None  # None: of none of these answers


@dataclass(frozen=True, slots=True)
class Learned:
    """Clicks that this process has learned from, for the session indexes of others."""

    shard: str
    writer: str
    session_keys: NDArray[np.int64]  # (m,)
    times_ms: NDArray[np.int64]  # (m,)
    item_ids: Bytes  # m


Recommending = Recommended | Learned | Failed


class _By(NamedTuple):
    """What ranks some rows."""

    model: Any  # has `recommend`
    info: ModelInfo
    variant: InVariant | None = None


_AT_ONCE_MAX = 1 << 20  # any batch


@dataclass(frozen=True, slots=True)
class RecommendOptions:
    """What is asked of the step."""

    asks: NDArray[np.bool_]  # by event type: does a click of it ask for a recommendation
    top_k: int
    writer: str | None  # as whom to tell others what was learned; None: tell nobody
    inputs_share: float = 0.0  # of the answers whose ranker's inputs are kept


class RecommendShard:
    """Recommends for the clicks of a shard that ask for it, then learns from all of them.

    A recommender of the process is shared by all shards and not part of the snapshot: it is rebuilt
    from the topic `sessions`. One of the shard is, as arrays.
    """

    def __init__(self, serving: Serving, options: RecommendOptions) -> None:
        self._serving = serving
        self._options = options
        self._recommender = serving.model.for_shard()
        # A batch is answered before it is learned. The first clicks of a start are few at a time,
        # so that one that knows nothing yet does not answer a whole batch with nothing.
        self._at_once = 1

    def on_batch(self, values: list[ShardClicks]) -> list[Recommending]:
        out: list[Recommending] = []
        with self._serving.lock:
            for shard_clicks in values:
                self._recommend_and_learn(shard_clicks, out)
        return out

    def snapshot(self) -> dict[str, Any] | None:
        """The state of a recommender of the shard."""
        if scope_of(self._recommender) == "process":
            return None
        with self._serving.lock:
            state: dict[str, Any] = self._recommender.state()
        return state

    def resume(self, state: dict[str, Any]) -> None:
        """Become the shard that said this."""
        self._recommender.restore(state)

    def _recommend_and_learn(self, shard_clicks: ShardClicks, out: list[Recommending]) -> None:
        clicks, rows = shard_clicks.clicks, shard_clicks.rows
        sessions = sessions_of(shard_clicks, self._serving.user_columns)
        asking = self._options.asks[clicks.matrix[kernels.EVENT_TYPE, rows]]
        first = 0
        while first < len(rows):
            end = min(first + self._at_once, len(rows))
            part = slice(first, end)
            if end - first == len(rows):
                some = sessions
            else:  # by themselves, or the whole batch would be numbered anew each time
                some = replace(sessions.take(np.arange(first, end)), part_of=None)
            self._answer_and_learn(shard_clicks, rows[part], some, asking[part], out)
            if not is_one_by_one(self._recommender):
                self._at_once = min(2 * self._at_once, _AT_ONCE_MAX)
            first = end
        if self._options.writer is not None:
            times_ms = clicks.matrix[kernels.TIME_MS, rows]
            out.append(
                Learned(
                    shard_clicks.shard,
                    self._options.writer,
                    sessions.keys,
                    times_ms,
                    sessions.item_ids,
                )
            )

    def _answer_and_learn(
        self,
        shard_clicks: ShardClicks,
        rows: NDArray[np.int64],
        sessions: Sessions,
        asking: NDArray[np.bool_],
        out: list[Recommending],
    ) -> None:
        if asking.all():
            self._recommend(shard_clicks, rows, sessions, out)
        elif asking.any():
            picks = np.flatnonzero(asking)
            self._recommend(shard_clicks, rows[picks], sessions.take(picks), out)
        clicks = shard_clicks.clicks
        if self._serving.model.learned is not None:
            sessions = self._serving.unlearned(sessions, clicks.topic, clicks.places(rows))
        if len(sessions):
            self._serving.learn(self._recommender, sessions, _place(clicks, rows))

    def _recommend(
        self,
        shard_clicks: ShardClicks,
        rows: NDArray[np.int64],
        sessions: Sessions,
        out: list[Recommending],
    ) -> None:
        variants = self._serving.variants
        if variants is None:
            by = _By(self._recommender, self._serving.info)
            self._rank(by, shard_clicks, rows, sessions, out)
            return
        of_rows = variants.split.of_keys(take(shard_clicks.clicks.user_ids, rows)).variants
        for index, ranker in enumerate(variants.rankers):
            picks = np.flatnonzero(of_rows == index)
            if len(picks):
                variant = InVariant(variants.experiment, ranker.name, ranker.weight)
                by = _By(ranker, ranker.info, variant)
                self._rank(by, shard_clicks, rows[picks], sessions.take(picks), out)

    def _rank(
        self,
        by: "_By",
        shard_clicks: ShardClicks,
        rows: NDArray[np.int64],
        sessions: Sessions,
        out: list[Recommending],
    ) -> None:
        clicks, top_k, share = shard_clicks.clicks, self._options.top_k, self._options.inputs_share
        inputs: LoggedInputs | None = None
        logged = None if not share else in_share(clicks.topic, clicks.places(rows), share)
        try:
            if logged is None or not logged.any():
                ranking = by.model.recommend(sessions, top_k)
                check_ranking(ranking, len(rows))
            else:
                ranking, values = by.model.recommend_with_inputs(sessions, top_k, logged)
                check_ranking(ranking, len(rows))
                check_inputs(values, ranking, logged, len(by.info.features))
                inputs = LoggedInputs(np.flatnonzero(logged), values, 1.0 / share)
        except Exception as error:  # noqa: BLE001  # a model is user code: its error is the record's
            if len(rows) == 1:
                out.append(
                    shard_clicks.clicks.fail(
                        int(rows[0]), Reason.MODEL_FAILED, f"model raised {_text(error)}", error
                    )
                )
                return
            _logger.warning("model %s: a batch failed (%r); one by one", by.info.name, _text(error))
            for i in range(len(rows)):
                alone = np.array([i])
                self._rank(by, shard_clicks, rows[alone], sessions.take(alone), out)
            return
        shard = shard_clicks.shard
        out.append(Recommended(shard, clicks, rows, ranking, by.info, by.variant, inputs))


def sessions_of(shard_clicks: ShardClicks, user_columns: NDArray[np.int64]) -> Sessions:
    """The sessions right after the clicks of a shard, as a recommender is handed them."""
    clicks, rows, after = shard_clicks.clicks, shard_clicks.rows, shard_clicks.sessions
    assert after is not None
    return Sessions(
        keys=after.keys,
        item_ids=take(clicks.item_ids, rows),
        user_ids=take(clicks.user_ids, rows),
        item_keys=after.items,
        times_ms=after.times_ms,
        bounds=after.bounds,
        positions=after.positions,
        user_features=clicks.features[rows[:, None], user_columns],
    )


def _text(error: Exception) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001  # user code, too
        return f"a {type(error).__name__} that cannot be told as text"


def _place(clicks: Clicks, rows: NDArray[np.int64]) -> str:
    first, last = clicks.places(rows[[0, -1]]).tolist()
    return (
        f"topic {clicks.topic!r}, from partition {first[0]}, offset {first[1]} "
        f"to partition {last[0]}, offset {last[1]}"
    )


def recommend(
    job: "Job", features: FeatureSet
) -> Callable[[str, dict[str, Any] | None], RecommendShard]:
    """Builds, or resumes, the shards of the step, over the model that the settings name. Raises
    StartError where it cannot be had."""
    settings, run = job.settings, uuid4().hex
    serving = job.share(lambda: serve(job, features, run))
    options = RecommendOptions(
        asks=np.array([event_type in settings.recommend_on for event_type in EVENT_TYPES]),
        top_k=settings.top_k,
        writer=run if settings.share_sessions else None,
        inputs_share=settings.log_ranker_inputs,
    )

    def build(step_id: str, resume: dict[str, Any] | None) -> RecommendShard:
        shard = RecommendShard(serving(), options)
        if resume is not None:
            shard.resume(resume)
        return shard

    return build


def serve(job: "Job", features: FeatureSet, run: str) -> Serving:
    """The model of this process, with what the topic of sessions holds. Raises StartError."""
    settings, topic = job.settings, job.settings.topic(SESSIONS)
    variants: Variants | None = None
    if settings.ranker_variants is None:
        model = make_model(job.log, settings.model, settings.model_path, topic)
    else:
        model, variants = make_variants(job.log, settings, topic)
    answers = model.shared or model.for_shard()
    if settings.log_ranker_inputs and not hasattr(answers, "recommend_with_inputs"):
        raise StartError(
            "STREAMREC_LOG_RANKER_INPUTS expected a model that tells what its ranker sees "
            f"(recommend_with_inputs, models/contract.py), got {settings.model!r}"
        )
    info = answers.info
    read = info.user_features if variants is None else variants.user_features
    job.report.facts["model"] = f"{info.name} {info.version[:12]}"
    if variants is not None:
        told = (f"{ranker.name} {ranker.info.version[:12]}" for ranker in variants.rankers)
        job.report.facts["model"] = f"experiment {variants.experiment}: {', '.join(told)}"
    job.report.models += _served(settings, info, variants)
    unknown = set(read) - set(features.names)
    if unknown:
        raise StartError(
            f"model {info.version} expected the user features {sorted(unknown)}, which "
            "are not declared; train it anew with the features as they are"
        )
    columns = [features.names.index(name) for name in read]
    serving = Serving(model, info, np.array(columns, np.int64), variants)
    if settings.share_sessions and model.shared is not None:
        decoder = job.decoder(SESSIONS)()
        table = SessionTable(
            job.log, topic, run, weakref.ref(serving), decoder, settings.session_items
        )
        table.follow(table.load(settings.session_history_s))
        serving.keeps.append(table)
    return serving


def _served(settings: Settings, info: ModelInfo, variants: Variants | None) -> list[ServedModel]:
    """What answers, for who watches."""
    if variants is not None:
        return [
            ServedModel(f"{variants.experiment}:{each.name}", each.info.version)
            for each in variants.rankers
        ]
    folder = settings.model_path or SHIPPED_MODEL if settings.model == "artifact" else None
    if folder is None and Path(settings.model).is_dir():
        folder = Path(settings.model)
    made_s = None if folder is None else (folder / MANIFEST).stat().st_mtime
    return [ServedModel(info.name, info.version, made_s)]


def make_model(log: Log, name: str, path: Any, sessions_topic: str) -> Model:
    """What `STREAMREC_MODEL` names. Raises StartError, BadArtifact."""
    try:
        return load_model(name, ModelOptions(path, has_messages(log, sessions_topic)))
    except BadModel as error:
        raise StartError(str(error)) from error


def make_variants(log: Log, settings: Settings, sessions_topic: str) -> tuple[Model, Variants]:
    """The rankers that `STREAMREC_RANKER_VARIANTS` names. Raises StartError, BadArtifact."""
    options = ModelOptions(settings.model_path, has_messages(log, sessions_topic))
    try:
        specs = parse_variants(str(settings.ranker_variants))
        return load_variants(settings.experiment, specs, options)
    except BadModel as error:
        raise StartError(str(error)) from error


__all__ = ["Learned", "RecommendOptions", "RecommendShard", "Recommended", "recommend"]
