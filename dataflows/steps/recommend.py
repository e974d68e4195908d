"""The step `recommend`: a session and its user's features become the best items; then learning."""

import logging
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from bytewax.operators import StatefulBatchLogic
from numpy.typing import NDArray
from typing_extensions import override

from streamrec.dataflows.steps.batches import Clicks, Failed, ShardClicks
from streamrec.models.contract import Ranking, Sessions
from streamrec.models.sessions.recommender import SessionRecommender
from streamrec.models.users import kernels
from streamrec.schemas.columns import Bytes

if TYPE_CHECKING:
    from streamrec.dataflows.steps.online_ranking import OnlineRanking

_logger = logging.getLogger(__name__)

STAGE = "recommend"


@dataclass(frozen=True, slots=True)
class Recommended:
    """Rankings for some rows of a batch of clicks, with the ids of what is recommended."""

    clicks: Clicks
    rows: NDArray[np.int64]  # (m,)
    ranking: Ranking  # of m rows
    item_ids: Bytes  # of ranking.items flattened, without the -1


@dataclass(frozen=True, slots=True)
class Learned:
    """Clicks that this process has learned from, for the session indexes of others."""

    session_keys: NDArray[np.int64]  # (m,)
    times_ms: NDArray[np.int64]  # (m,)
    item_ids: Bytes  # m


Recommending = Recommended | Learned | Failed


class SharedRecommender:
    """The recommender of a process, shared by its shards; threads of `-w` take turns."""

    def __init__(self, recommender: SessionRecommender, user_columns: NDArray[np.int64]) -> None:
        self.recommender = recommender
        self.user_columns = user_columns  # of the declared features, those that the model reads
        self.lock = threading.Lock()
        self.keeps: list[object] = []  # what lives as long as this


@dataclass(frozen=True, slots=True)
class RecommendOptions:
    """What is asked of the step."""

    asks: NDArray[np.bool_]  # by event type: does a click of it ask for a recommendation
    top_k: int
    share: bool  # emit what was learned, for other processes
    online: bool  # rank by a model that learns inside the flow


class RecommendShard(StatefulBatchLogic[ShardClicks, Recommending, dict[str, Any] | None]):
    """Recommends for the clicks of a shard that ask for it, then learns from all of them.

    The session index is shared by all shards of the process and is not part of the snapshot: it is
    rebuilt from the topic `sessions`. A ranker that learns online is the shard's own and is.
    """

    def __init__(
        self, shared: SharedRecommender, options: RecommendOptions, saved: dict[str, Any] | None
    ) -> None:
        self._shared = shared
        self._options = options
        self._online: OnlineRanking | None = None
        if options.online:
            self._online = _online_ranking(shared.recommender, saved)

    @override
    def on_batch(self, values: list[ShardClicks]) -> tuple[list[Recommending], bool]:
        out: list[Recommending] = []
        with self._shared.lock:
            for shard_clicks in values:
                self._recommend_and_learn(shard_clicks, out)
        return out, StatefulBatchLogic.RETAIN

    def _recommend_and_learn(self, shard_clicks: ShardClicks, out: list[Recommending]) -> None:
        clicks, rows, after = shard_clicks.clicks, shard_clicks.rows, shard_clicks.sessions
        assert after is not None
        items = self._shared.recommender.items
        clicked, clicked_ids = clicks.matrix[kernels.ITEM, rows], take(clicks.item_ids, rows)
        # Clicked items get their numbers first, so that a session knows its own last item.
        items.numbers(clicked, clicked_ids, add=True)
        sessions = Sessions(
            keys=after.keys,
            items=items.numbers(after.items, None, add=False),
            times_ms=after.times_ms,
            bounds=after.bounds,
            positions=after.positions,
            user_features=clicks.features[rows[:, None], self._shared.user_columns],
        )
        asking = self._options.asks[clicks.matrix[kernels.EVENT_TYPE, rows]]
        if self._online is not None:
            self._rank_online(self._online, shard_clicks, sessions, clicked, asking, out)
        elif asking.all():
            self._recommend(shard_clicks, rows, sessions, out)
        elif asking.any():
            picks = np.flatnonzero(asking)
            self._recommend(shard_clicks, rows[picks], pick(sessions, picks), out)
        self._shared.recommender.learn(sessions)
        if self._options.share:
            out.append(Learned(after.keys, clicks.matrix[kernels.TIME_MS, rows], clicked_ids))

    def _recommend(
        self,
        shard_clicks: ShardClicks,
        rows: NDArray[np.int64],
        sessions: Sessions,
        out: list[Recommending],
    ) -> None:
        try:
            ranking = self._shared.recommender.recommend(sessions, self._options.top_k)
            out.append(self._answer(shard_clicks.clicks, rows, ranking))
        except Exception as error:  # noqa: BLE001  # a model is user code: its error is the record's
            if len(rows) == 1:
                out.append(_model_failed(shard_clicks, int(rows[0]), error))
                return
            _logger.warning(
                "step %r: a batch failed (%r); trying its records one by one", STAGE, error
            )
            for i in range(len(rows)):
                alone = np.array([i])
                self._recommend(shard_clicks, rows[alone], pick(sessions, alone), out)

    def _rank_online(
        self,
        online: "OnlineRanking",
        shard_clicks: ShardClicks,
        sessions: Sessions,
        clicked: NDArray[np.int64],
        asking: NDArray[np.bool_],
        out: list[Recommending],
    ) -> None:
        """As `_recommend`, click by click, since each may teach the ranker of the next."""
        for i in range(len(sessions)):
            alone = np.array([i])
            row = shard_clicks.rows[alone]
            try:
                ranking = online.rank(
                    pick(sessions, alone), clicked[alone], asking[alone], self._options.top_k
                )
                if asking[i]:
                    out.append(self._answer(shard_clicks.clicks, row, ranking))
            except Exception as error:  # noqa: BLE001  # a model is user code, as above
                if asking[i]:
                    out.append(_model_failed(shard_clicks, int(row[0]), error))
                else:
                    _logger.error("step %r: a click was not learned: %r", STAGE, error)

    def _answer(self, clicks: Clicks, rows: NDArray[np.int64], ranking: Ranking) -> Recommended:
        found = ranking.items >= 0
        if not np.isfinite(ranking.scores[found]).all():
            raise ValueError("scores expected finite numbers, got nan or infinity")
        ids = self._shared.recommender.items.ids(ranking.items[found])
        return Recommended(clicks, rows, ranking, ids)

    @override
    def snapshot(self) -> dict[str, Any] | None:
        return None if self._online is None else self._online.state()


def _online_ranking(
    recommender: SessionRecommender, saved: dict[str, Any] | None
) -> "OnlineRanking":
    # river takes seconds to import, at every restart, and only this model needs it.
    from streamrec.dataflows.steps.online_ranking import OnlineRanking

    return OnlineRanking(recommender, saved)


def _model_failed(shard_clicks: ShardClicks, row: int, error: Exception) -> Failed:
    clicks = shard_clicks.clicks
    return clicks.origins.fail(
        int(clicks.origin_rows[row]),
        STAGE,
        "model_failed",
        type(error).__name__,
        f"model raised {error}",
        "".join(traceback.format_exception(error)),
    )


def take(column: Bytes, rows: NDArray[np.int64]) -> Bytes:
    """Chosen rows of a column over the same buffer."""
    return Bytes(column.data, column.starts[rows], column.lengths[rows])


def pick(sessions: Sessions, picks: NDArray[np.int64]) -> Sessions:
    """Some of the sessions, in the order given."""
    lengths = np.diff(sessions.bounds)[picks]
    bounds = np.zeros(len(picks) + 1, np.int64)
    np.cumsum(lengths, out=bounds[1:])
    flat = np.arange(bounds[-1]) + np.repeat(sessions.bounds[picks] - bounds[:-1], lengths)
    return Sessions(
        keys=sessions.keys[picks],
        items=sessions.items[flat],
        times_ms=sessions.times_ms[flat],
        bounds=bounds,
        positions=sessions.positions[picks],
        user_features=sessions.user_features[picks],
    )


@dataclass(frozen=True, slots=True)
class BuildRecommend:
    """Builds, or resumes, the shards; the recommender is made when the first one is."""

    shared: Callable[[], SharedRecommender]
    options: RecommendOptions

    def __call__(self, resume: dict[str, Any] | None) -> RecommendShard:
        return RecommendShard(self.shared(), self.options, resume)
