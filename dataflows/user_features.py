"""The step `user features`: clicks of a shard become features, in event time."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from bytewax.operators import StatefulBatchLogic
from typing_extensions import override

from dataflows.batches import Failed, ShardClicks
from models import user_kernels as kernels
from models.user_state import UserState

STAGE = "user features"


@dataclass(frozen=True, slots=True)
class ShardSnapshot:
    """What the engine's recovery store holds of a shard."""

    feature_set: str
    words: Any
    cells: Any
    user_ids: list[bytes]
    watermarks_ms: Any


class UserFeaturesShard(StatefulBatchLogic[ShardClicks, ShardClicks | Failed, ShardSnapshot]):
    """One shard's users. Emits accepted clicks with their features, and the late ones as failed.

    State: about 1.3 kB a user, for as long as the user was active within the longest window (see
    `models.user_state`). Never discarded.
    """

    def __init__(self, state: UserState, with_sessions: bool) -> None:
        self._state = state
        self._with_sessions = with_sessions

    @override
    def on_batch(self, values: list[ShardClicks]) -> tuple[list[ShardClicks | Failed], bool]:
        out: list[ShardClicks | Failed] = []
        for shard_clicks in values:
            clicks, rows = shard_clicks.clicks, shard_clicks.rows
            sessions = self._state.update(
                clicks.matrix,
                rows,
                clicks.user_ids,
                clicks.features,
                clicks.status,
                clicks.partitions,
                self._with_sessions,
            )
            status = clicks.status[rows]
            if status.any():
                late = rows[status == kernels.TOO_LATE]
                out.extend(self._late(shard_clicks, row) for row in late.tolist())
                rows = rows[status == kernels.ACCEPTED]
            if len(rows):
                out.append(ShardClicks(clicks, rows, sessions))
        return out, StatefulBatchLogic.RETAIN

    def _late(self, shard_clicks: ShardClicks, row: int) -> Failed:
        clicks = shard_clicks.clicks
        partition = int(clicks.matrix[kernels.PARTITION, row])
        earliest = int(self._state.watermarks_ms[partition]) - self._state.features.longest_ms
        return clicks.origins.fail(
            int(clicks.origin_rows[row]),
            STAGE,
            "too_late",
            "TooLateError",
            f"field timestamp expected at least {earliest} (the partition's watermark less the "
            f"longest window), got {int(clicks.matrix[kernels.TIME_MS, row])}",
        )

    @override
    def snapshot(self) -> ShardSnapshot:
        state = self._state
        held = state.held()
        return ShardSnapshot(
            feature_set=state.features.digest,
            words=state.words[held],
            cells=state.cells[held],
            user_ids=[state.user_ids[slot] for slot in held.tolist()],
            watermarks_ms=state.watermarks_ms.copy(),
        )


@dataclass(frozen=True, slots=True)
class BuildUserFeatures:
    """Builds, or resumes, the shards."""

    new_state: Any  # () -> UserState
    with_sessions: bool = True

    def __call__(self, resume: ShardSnapshot | None) -> UserFeaturesShard:
        state: UserState = self.new_state()
        if resume is not None:
            if resume.feature_set != state.features.digest:
                raise ValueError(
                    f"step {STAGE!r}: saved state expected the feature declaration "
                    f"{state.features.digest}, got {resume.feature_set}; resume with the features "
                    "that made it, or start from a new recovery directory"
                )
            state.restore(resume.words, resume.cells, resume.user_ids, resume.watermarks_ms)
        return UserFeaturesShard(state, self.with_sessions)


def sessions_are_in_order(clicks: ShardClicks) -> bool:
    """Whether each session row belongs to the click row beside it; an invariant for tests."""
    assert clicks.sessions is not None
    return bool(np.array_equal(clicks.sessions.rows, clicks.rows))
