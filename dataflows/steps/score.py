"""The steps `score` and `encode scores`: features become probabilities, and these records."""

from dataclasses import dataclass
from itertools import groupby
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from streamrec.dataflows.steps.batches import Clicks, Failed, ShardClicks
from streamrec.dataflows.steps.decode import ERRORS_KEY
from streamrec.dataflows.steps.encode import EncodeAnswers, Keyed, constant
from streamrec.dataflows.steps.placing import order_by_partition
from streamrec.dataflows.steps.recommend import take
from streamrec.models.propensity import Propensity
from streamrec.models.users import kernels
from streamrec.models.users.features import DEFAULT_WINDOWS as WINDOWS
from streamrec.models.users.features import FeatureSet, compile_features, counts_by_type
from streamrec.schemas.columns import Columns, Lists, Numbers

STAGE = "score"
SCORES_KEY = "scores"


def scoring_features() -> FeatureSet:
    """The 12 window counts that the model reads."""
    return compile_features(counts_by_type(WINDOWS))


@dataclass(frozen=True, slots=True)
class Scored:
    """Scores of some clicks of a batch."""

    clicks: Clicks
    rows: NDArray[np.int64]  # (m,)
    scores: NDArray[np.float32]  # (m,)


@dataclass(frozen=True, slots=True)
class ScoreClicks:
    """Joins the shards of a batch again and scores each click.

    Takes `(shard, ShardClicks)`, emits `("scores", Scored)` and `("errors", Failed)`.
    """

    model: Propensity

    def __call__(self, batch: list[tuple[str, ShardClicks]]) -> list[tuple[str, Scored | Failed]]:
        out: list[tuple[str, Scored | Failed]] = []
        for _, group in groupby((part for _, part in batch), key=lambda part: id(part.clicks)):
            parts = list(group)
            clicks = parts[0].clicks
            rows = np.concatenate([part.rows for part in parts]) if parts[1:] else parts[0].rows
            scores = self.model.scores(clicks.features, rows)
            finite = np.isfinite(scores)
            if not finite.all():
                out.extend((ERRORS_KEY, _not_finite(clicks, row)) for row in rows[~finite].tolist())
                rows, scores = rows[finite], scores[finite]
            out.append((SCORES_KEY, Scored(clicks, rows, scores)))
        return out


def _not_finite(clicks: Clicks, row: int) -> Failed:
    return clicks.origins.fail(
        int(clicks.origin_rows[row]),
        STAGE,
        "model_failed",
        "ValueError",
        f"score expected a finite number, got none for features {clicks.features[row].tolist()}",
    )


@dataclass
class EncodeScores(EncodeAnswers):
    """Takes `("scores", Scored)`, emits `(lane, Out)` and `("errors", Failed)`."""

    stage: ClassVar[str] = "encode scores"

    model_version: str

    def __call__(self, batch: list[tuple[str, Scored]]) -> list[Keyed]:
        out: list[Keyed] = []
        for _, scored in batch:
            self._encode(scored, out)
        return out

    def _encode(self, scored: Scored, out: list[Keyed]) -> None:
        clicks = scored.clicks
        # Sorted by partition before they are encoded, so that afterwards each is a slice.
        order, targets = order_by_partition(take(clicks.user_ids, scored.rows), self.partitions())
        rows = scored.rows[order]
        n, n_features = len(rows), clicks.features.shape[1]
        columns: Columns = {
            "user_id": take(clicks.user_ids, rows),
            "source_partition": Numbers(clicks.matrix[kernels.PARTITION, rows]),
            "source_offset": Numbers(clicks.offsets[rows]),
            "scored_at": Numbers(clicks.matrix[kernels.TIME_MS, rows]),
            "score": Numbers(scored.scores[order]),
            "model_version": constant(self.model_version, n),
            "features": Lists(
                np.arange(n + 1) * n_features, {"": Numbers(clicks.features[rows].reshape(-1))}
            ),
        }
        self.emit(clicks, rows, targets, columns, out)
