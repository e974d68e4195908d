"""The step `user features`: clicks of a shard become features, in event time."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from streamrec.dataflows.errors.failed import Failed
from streamrec.dataflows.job.settings import Settings
from streamrec.dataflows.steps.batches import ShardClicks
from streamrec.dataflows.steps.user_tables import table_of, users_of
from streamrec.models.users import kernels
from streamrec.models.users.features import FeatureSet
from streamrec.models.users.state import UserState
from streamrec.schemas.reasons import Reason

_TOPIC_ROWS = 4_096  # of watermarks, for each topic of clicks: more partitions than one has


class UserFeatures:
    """One shard's users. Emits accepted clicks with their features, and the late ones as failed.

    State: about 1.3 kB a user in memory and 0.25 kB in files, for as long as the user was active
    within the longest window (see `models.users.state`).
    """

    def __init__(self, state: UserState, with_sessions: bool = True) -> None:
        self.state = state
        self._with_sessions = with_sessions
        # Whose clicks came, in this order: each topic's partitions have watermarks of their own.
        self._topics: list[str] = []

    def update(self, values: list[ShardClicks]) -> list[ShardClicks | Failed]:
        """Count the clicks and fill in their features, in the order in which they come."""
        out: list[ShardClicks | Failed] = []
        for shard_clicks in values:
            clicks, rows = shard_clicks.clicks, shard_clicks.rows
            matrix, first = clicks.matrix, self._first_row(clicks.topic)
            if first:
                matrix = matrix.copy()
                matrix[kernels.PARTITION] += first
            sessions = self.state.update(
                matrix,
                rows,
                clicks.user_ids,
                clicks.features,
                clicks.status,
                first + clicks.partition_count,
                self._with_sessions,
            )
            status = clicks.status[rows]
            if status.any():
                late = rows[status == kernels.TOO_LATE]
                out.extend(self._late(shard_clicks, row) for row in late.tolist())
                rows = rows[status == kernels.ACCEPTED]
            if len(rows):
                out.append(ShardClicks(shard_clicks.shard, clicks, rows, sessions))
        return out

    def _first_row(self, topic: str) -> int:
        """Of the watermarks of a topic's partitions."""
        if topic not in self._topics:
            self._topics.append(topic)
        return _TOPIC_ROWS * self._topics.index(topic)

    def _late(self, shard_clicks: ShardClicks, row: int) -> Failed:
        clicks = shard_clicks.clicks
        partition = self._first_row(clicks.topic) + int(clicks.matrix[kernels.PARTITION, row])
        earliest = int(self.state.watermarks_ms[partition]) - self.state.features.longest_ms
        return clicks.fail(
            row,
            Reason.TOO_LATE,
            f"field timestamp expected at least {earliest} (the partition's watermark less the "
            f"longest window), got {int(clicks.matrix[kernels.TIME_MS, row])}",
        )

    def changed(self, whole: bool) -> tuple[pa.Table, dict[str, Any]]:
        """The users that changed since the last call, or all; what `restore` checks beside."""
        state = self.state
        slots = state.held() if whole else state.changed()
        facts = {
            "feature_set": state.features.digest,
            "watermarks_ms": state.watermarks_ms[:_TOPIC_ROWS].tolist(),
            "topics": self._topics,
            "watermarks_of_others": [
                state.watermarks_ms[first : first + _TOPIC_ROWS].tolist()
                for first in range(_TOPIC_ROWS, len(state.watermarks_ms), _TOPIC_ROWS)
            ],
            "doubts": state.doubts,
            "kept_items": state.kept_items,
        }
        table = table_of(state.export(slots))
        state.clear_changes()
        return table, facts

    def restore(self, tables: Sequence[pa.Table], facts: dict[str, Any]) -> None:
        """Become the shard that said this. Raises ValueError when the features are declared in
        another way than those that were saved."""
        state = self.state
        saved = (facts["feature_set"], facts["kept_items"])
        if saved != (state.features.digest, state.kept_items):
            raise ValueError(
                f"step 'user features': saved state expected features {state.features.digest} and "
                f"{state.kept_items} kept items, got {saved[0]} and {saved[1]}; resume with the "
                "declaration and the setting that made it, or start from a new recovery directory"
            )
        # What was saved when there was one topic says nothing of it, nor what others there are.
        self._topics = list(facts.get("topics", ()))
        rows: list[int] = list(facts["watermarks_ms"])
        for number, others in enumerate(facts.get("watermarks_of_others", ()), 1):
            rows += [0] * (_TOPIC_ROWS * number - len(rows)) + others
        watermarks_ms = np.array(rows, np.int64)
        # Shards that were saved before watermarks were doubted say nothing of it.
        doubts = facts.get("doubts", {})
        state.restore([users_of(table) for table in tables], watermarks_ms, doubts)


def user_features(
    settings: Settings, features: FeatureSet, with_sessions: bool = True
) -> Callable[[], UserFeatures]:
    """Makes the shards. Where nothing reads a session a user's last items need not be kept: 100
    bytes, not 600."""
    kept_items = settings.session_items if with_sessions else 1
    gap_ms = settings.session_gap_s * 1_000
    return lambda: UserFeatures(UserState(features, gap_ms, kept_items), with_sessions)


__all__ = ["UserFeatures", "user_features"]
