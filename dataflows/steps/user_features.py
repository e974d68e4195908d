"""The step `user features`: clicks of a shard become features, in event time."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from bytewax.operators import StatefulBatchLogic
from typing_extensions import override

from streamrec.connectors.state_files import Reference, StateFiles
from streamrec.dataflows.steps.batches import Failed, ShardClicks
from streamrec.dataflows.steps.user_tables import table_of, users_of
from streamrec.models.users import kernels
from streamrec.models.users.state import UserState

STAGE = "user features"


# What the engine's recovery store holds of a shard: where its state is, not the state. Plain types,
# since the engine pickles it: {"shard": name, "reference": as Reference.plain()}.
ShardSnapshot = dict[str, Any]


class UserFeaturesShard(
    StatefulBatchLogic[ShardClicks, ShardClicks | Failed, ShardSnapshot | None]
):
    """One shard's users. Emits accepted clicks with their features, and the late ones as failed.

    State: about 1.3 kB a user in memory and 0.25 kB in files, for as long as the user was active
    within the longest window (see `models.users.state`). Never discarded. A snapshot writes the
    users that changed since the last one.
    """

    def __init__(
        self,
        state: UserState,
        with_sessions: bool,
        open_files: Callable[[str], StateFiles] | None,
        files: StateFiles | None = None,
        shard: str = "",  # not known before the first clicks, or the snapshot, name it
    ) -> None:
        self._state = state
        self._with_sessions = with_sessions
        self._open_files = open_files
        self._files = files
        self._shard = shard

    @override
    def on_batch(self, values: list[ShardClicks]) -> tuple[list[ShardClicks | Failed], bool]:
        out: list[ShardClicks | Failed] = []
        for shard_clicks in values:
            clicks, rows = shard_clicks.clicks, shard_clicks.rows
            self._shard = shard_clicks.shard
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
                out.append(ShardClicks(self._shard, clicks, rows, sessions))
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
    def snapshot(self) -> ShardSnapshot | None:
        if self._open_files is None:
            return None  # the engine asks even when it keeps nothing
        if self._files is None:
            self._files = self._open_files(self._shard)
            self._files.remove_strays()
        state = self._state
        is_base = self._files.wants_base
        slots = state.held() if is_base else state.changed()
        facts = {
            "feature_set": state.features.digest,
            "watermarks_ms": state.watermarks_ms.tolist(),
            "kept_items": state.kept_items,
        }
        reference = self._files.write(table_of(state.export(slots)), is_base, facts)
        state.clear_changes()
        return {"shard": self._shard, "reference": reference.plain()}


@dataclass(frozen=True, slots=True)
class BuildUserFeatures:
    """Builds, or resumes, the shards. `open_files` None: nothing is kept over a restart."""

    new_state: Callable[[], UserState]
    with_sessions: bool = True
    open_files: Callable[[str], StateFiles] | None = None

    def __call__(self, resume: ShardSnapshot | None) -> UserFeaturesShard:
        state = self.new_state()
        if resume is None or self.open_files is None:
            return UserFeaturesShard(state, self.with_sessions, self.open_files)
        shard = resume["shard"]
        files = self.open_files(shard)
        restore(state, files, Reference.of_plain(resume["reference"]))
        return UserFeaturesShard(state, self.with_sessions, self.open_files, files, shard)


def restore(state: UserState, files: StateFiles, reference: Reference) -> None:
    """Load a snapshot into an empty state. Raises StateFileError, or ValueError when the features
    are declared in another way than those that were saved."""
    facts = reference.facts
    saved = (facts["feature_set"], facts["kept_items"])
    if saved != (state.features.digest, state.kept_items):
        raise ValueError(
            f"step {STAGE!r}: saved state expected features {state.features.digest} and "
            f"{state.kept_items} kept items, got {saved[0]} and {saved[1]}; resume with the "
            "declaration and the setting that made it, or start from a new recovery directory"
        )
    tables = [users_of(table) for table in files.read(reference)]
    state.restore(tables, np.array(facts["watermarks_ms"], np.int64))
    files.remove_strays()
