"""Training from a click log: replay it, ask before learning, tune on its end, fit the ranker.

Every training row is made from what was known before its click. The log is cut into blocks; the
sessions that begin in a block are asked about with an index that ends where the block begins, and
only then is the block learned. Asking with an index some hours old, rather than up to the click,
is what a published test does to a model, and what a worker sees that lags behind. What is tuned is
tuned on the last part of the log, and no test file is ever seen here.
"""

import time
from dataclasses import dataclass

import numpy as np

from streamrec.models.contract import Ranker
from streamrec.models.sessions.recommender import SessionRecommender
from streamrec.models.sessions.weights import Bounds, Weights
from streamrec.models.training.fitting import RANKERS, fit
from streamrec.models.training.logs import (
    ClickLog,
    DistinctItems,
    FeatureRows,
    SessionRows,
    number_items,
)
from streamrec.models.training.rows import (
    HeldOut,
    Rows,
    RowsMaker,
    hold_out,
    learn_rows,
    questions_between,
)
from streamrec.models.training.tuning import Progress, tune_weights

ENOUGH_QUESTIONS = 200  # with fewer, what a search or a ranker finds is chance
_HELD_OUT_MAX = 10_000


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """What training may cost and where its rows come from.

    The budget is turned into amounts of work here, not measured by a clock, so that equal seeds
    give equal models; where that work takes longer than planned, the clock makes it less.
    """

    budget_minutes: float = 10.0
    seed: int = 0
    threads: int = 2
    validation_share: float = 0.08  # of the log's clicks, at its end
    rows_from_share: float = 0.35  # of the log's clicks: earlier ones only fill the index
    blocks: int = 24

    def __post_init__(self) -> None:
        if not self.budget_minutes > 0:
            raise ValueError(f"budget_minutes expected > 0, got {self.budget_minutes!r}")
        if not 0 < self.validation_share < 0.5:
            raise ValueError(f"validation_share expected 0 to 0.5, got {self.validation_share!r}")
        if not 0 <= self.rows_from_share <= 0.9:
            raise ValueError(f"rows_from_share expected 0 to 0.9, got {self.rows_from_share!r}")

    @property
    def questions(self) -> int:
        """Sessions asked about for rows, 29 kB each and a fraction of it packed; growing the trees
        takes a minute of two cores for 30,000."""
        return int(min(100_000, 2_000 + 5_000 * self.budget_minutes))

    @property
    def tuning_questions(self) -> int:
        return int(min(15_000, 1_000 + 1_000 * self.budget_minutes))

    @property
    def configurations(self) -> int:
        """Settings of the trees that are tried."""
        return int(min(20, 1 + self.budget_minutes / 1.5))

    @property
    def trials(self) -> int:
        """Steps of the search for weights, for kNN and for the blend."""
        return int(min(128, 4 + 8 * self.budget_minutes))

    @property
    def trial_questions(self) -> int:
        return int(min(5_000, 1_000 + 500 * self.budget_minutes))


def train(
    log: ClickLog,
    distinct: DistinctItems | None = None,
    bounds: Bounds | None = None,
    settings: TrainingSettings | None = None,
    ranker: str = "lightgbm",
    weights: Weights | None = None,
    user_features: tuple[str, ...] = (),
    user_values: FeatureRows | None = None,
    progress: Progress = lambda message: None,
    began_s: float | None = None,
) -> SessionRecommender:
    """A recommender that has learned the whole log, weights and ranker chosen within the budget.

    `distinct` are the items that the log's are places among; None: its items are keys, and the keys
    are the ids. `ranker`
    is lightgbm, sklearn, river or none; a log too short for it gives the blend. `weights` given
    are not tuned. `user_values` (n, n_user_features) are the user features right after each click.
    `began_s` of `time.monotonic()` is since when the budget runs; None: since now.
    Raises ValueError where the log has more items than `bounds` keep.
    """
    settings = settings or TrainingSettings()
    bounds = bounds or Bounds()
    if ranker not in (*RANKERS, "none"):
        raise ValueError(f"ranker expected one of {(*RANKERS, 'none')}, got {ranker!r}")
    n_items = len(np.unique(log.items))
    if n_items > bounds.items_max:
        raise ValueError(
            f"items_max expected at least the log's {n_items} items, got {bounds.items_max}"
        )
    started = time.monotonic() if began_s is None else began_s
    whole = 60.0 * settings.budget_minutes
    rng = np.random.default_rng(settings.seed)
    split = int(len(log) * (1.0 - settings.validation_share))

    def fresh(weights: Weights) -> tuple[SessionRecommender, SessionRows]:
        model = SessionRecommender(bounds, weights, user_features=user_features)
        numbers = number_items(model.items, log.items, distinct, add=True)
        return model, SessionRows(log, numbers, user_features=user_values)

    if weights is None:
        weights = Weights()
        progress(
            f"index: learning {split:,} clicks, to tune on the {len(log) - split:,} after them"
        )
        model, rows = fresh(weights)
        learn_rows(model, rows, 0, split)
        asked = questions_between(rows, split, len(log), rng, settings.trial_questions)
        if len(asked) >= ENOUGH_QUESTIONS:
            weights = tune_weights(
                model, rows.judged(asked), rng, settings.trials, started + 0.3 * whole, progress
            )

        del model, rows  # before there are others of their size
    model, rows = fresh(weights)
    until = started + 0.5 * whole
    all_rows, n_before_split, held_out = _replay(model, rows, split, settings, rng, until, progress)
    if ranker == "none" or len(all_rows.groups) < ENOUGH_QUESTIONS:
        return model
    del rows
    model.ranker = fit(
        ranker,
        all_rows,
        all_rows.first(n_before_split).last(settings.tuning_questions),
        held_out,
        # Where the clock has eaten what the search was to have, the first options must do.
        settings.configurations if time.monotonic() < started + 0.6 * whole else 1,
        settings.seed,
        settings.threads,
        started + 0.93 * whole,
        progress,
    )
    return model


def retrain(
    window: ClickLog,
    like: SessionRecommender,
    kind: str = "lightgbm",
    settings: TrainingSettings | None = None,
    user_values: FeatureRows | None = None,
) -> Ranker | None:
    """A new ranker from the stream's own recent past, for `like.ranker` to become.

    Replays the window (some hundred thousand clicks) from nothing, with the weights that `like`
    has; so it can run in a process of its own on a copy of the clicks while the stream goes on,
    and the swap is one assignment between two batches. None: the window is too short.
    """
    model = train(
        window,
        bounds=like.bounds,
        settings=settings,
        ranker=kind,
        weights=like.weights,
        user_features=like.info.user_features,
        user_values=user_values,
    )
    return model.ranker


def _replay(
    model: SessionRecommender,
    rows: SessionRows,
    split: int,
    settings: TrainingSettings,
    rng: np.random.Generator,
    until: float,
    progress: Progress,
) -> tuple[Rows, int, HeldOut]:
    """Learn the whole log block by block; all rows, of how many sessions those before `split` are,
    and what is held out after it. Where all would take longer than `until`, fewer are asked."""
    start = int(len(rows) * settings.rows_from_share)
    edges = np.linspace(start, len(rows), settings.blocks + 1).astype(np.int64)
    edges = np.unique(np.concatenate([edges, [split]]))
    learn_rows(model, rows, 0, start)
    made = RowsMaker(model)
    n_before_split = 0
    held_out = hold_out(model, rows.judged(np.zeros(0, np.int64)))
    began = time.monotonic()
    share = 1.0
    for begin, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        if begin == split:
            n_before_split = made.sessions
            asked = questions_between(rows, split, len(rows), rng, _HELD_OUT_MAX)
            held_out = hold_out(model, rows.judged(asked))
        wanted = round(share * settings.questions * (end - begin) / max(len(rows) - start, 1))
        made.ask(rows.judged(questions_between(rows, begin, end, rng, wanted)))
        learn_rows(model, rows, begin, end)
        asked_of = f"{made.sessions:,} sessions asked"
        progress(f"replay: {end:,} of {len(rows):,} clicks learned, {asked_of}")
        left = (time.monotonic() - began) / (end - start) * (len(rows) - end) / share
        if left > 0:
            share = min(1.0, max(0.1, (until - time.monotonic()) / left))
    return made.rows(), n_before_split, held_out
