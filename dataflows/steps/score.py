"""The step `score`: features become probabilities; and what is written of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from streamrec.dataflows.errors.failed import Failed
from streamrec.dataflows.job.encoding import Records
from streamrec.dataflows.steps.batches import Clicks, ShardClicks
from streamrec.dataflows.steps.variant_columns import variant_columns
from streamrec.models.propensity import PROPENSITY_FILE, Propensity, load_propensity
from streamrec.models.users import kernels
from streamrec.models.users.features import DEFAULT_WINDOWS as WINDOWS
from streamrec.models.users.features import FeatureSet, compile_features, counts_by_type
from streamrec.schemas.columns import Columns, Lists, Numbers, constant, take
from streamrec.schemas.place_texts import place_texts
from streamrec.schemas.reasons import Reason


def scoring_features() -> FeatureSet:
    """The 12 window counts that the model reads."""
    return compile_features(counts_by_type(WINDOWS))


@dataclass(frozen=True, slots=True)
class Scored:
    """Scores of some clicks of a batch."""

    clicks: Clicks
    rows: NDArray[np.int64]  # (m,)
    scores: NDArray[np.float32]  # (m,)
    model_version: str


@dataclass(frozen=True, slots=True)
class ScoreClicks:
    """Joins the shards of a batch again and scores each click."""

    model: Propensity

    def __call__(self, batch: list[ShardClicks]) -> list[Scored | Failed]:
        out: list[Scored | Failed] = []
        for _, group in groupby(batch, key=lambda part: id(part.clicks)):
            parts = list(group)
            clicks = parts[0].clicks
            rows = np.concatenate([part.rows for part in parts]) if parts[1:] else parts[0].rows
            scores = self.model.scores(clicks.features, rows)
            finite = np.isfinite(scores)
            if not finite.all():
                out.extend(_not_finite(clicks, row) for row in rows[~finite].tolist())
                rows, scores = rows[finite], scores[finite]
            out.append(Scored(clicks, rows, scores, self.model.version))
        return out


def score_clicks(features: FeatureSet) -> ScoreClicks:
    """The step, by the shipped model. Raises BadArtifact."""
    return ScoreClicks(load_propensity(PROPENSITY_FILE, features.names))


def _not_finite(clicks: Clicks, row: int) -> Failed:
    return clicks.fail(
        row,
        Reason.MODEL_FAILED,
        f"score expected a finite number, got none for features {clicks.features[row].tolist()}",
    )


def score_columns(batch: list[Scored]) -> Iterator[Records]:
    """One record for each click."""
    for scored in batch:
        clicks, rows = scored.clicks, scored.rows
        n, n_features = len(rows), clicks.features.shape[1]
        columns: Columns = {
            "user_id": take(clicks.user_ids, rows),
            "source_partition": Numbers(clicks.matrix[kernels.PARTITION, rows]),
            "source_offset": Numbers(clicks.offsets[rows]),
            "scored_at": Numbers(clicks.matrix[kernels.TIME_MS, rows]),
            "score": Numbers(scored.scores),
            "model_version": constant(scored.model_version, n),
            "features": Lists(
                np.arange(n + 1) * n_features, {"": Numbers(clicks.features[rows].reshape(-1))}
            ),
            "request_id": place_texts(clicks.topic, clicks.places(rows)),
            **variant_columns(None, n),
        }
        yield Records(columns, clicks, rows)


__all__ = ["ScoreClicks", "Scored", "score_clicks", "score_columns", "scoring_features"]
