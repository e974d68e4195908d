"""What goes between processes: a shard's own rows, with everything that an error would need."""

import pickle

import numpy as np

from streamrec.dataflows.steps.batches import ShardClicks
from streamrec.dataflows.steps.user_features import UserFeatures
from streamrec.models.users import kernels
from streamrec.models.users.features import compile_features
from streamrec.models.users.state import UserState
from streamrec.schemas.reasons import Reason
from tests.dataflows.click_batches import START_MS, click, make_decode, raw_batch

FEATURES = compile_features()


def decoded(n: int) -> list[ShardClicks]:
    values = [
        b"" if k % 7 == 3 else click(user_id=f"u{k % 10}", item_id=f"i{k}", timestamp=START_MS + k)
        for k in range(n)
    ]
    half = n // 2
    batches = [
        raw_batch(values[:half], partition=4, offsets=range(100, 100 + half)),
        raw_batch(values[half:], partition=1, offsets=range(0, 2 * (n - half), 2)),
    ]
    decode = make_decode(shards=3)
    decode.n_features = len(FEATURES)
    return [item for item in decode(batches) if isinstance(item, ShardClicks)]


def test_pickled_shard_keeps_its_own_rows_only() -> None:
    for part in decoded(60):
        copy: ShardClicks = pickle.loads(pickle.dumps(part))

        rows, kept = part.rows, copy.rows
        assert kept.tolist() == list(range(len(rows)))
        assert len(copy.clicks) == len(rows) < len(part.clicks)
        assert sum(map(len, copy.clicks.origins.batches)) == len(rows)
        assert np.array_equal(copy.clicks.matrix, part.clicks.matrix[:, rows])
        assert copy.clicks.matrix.flags.c_contiguous
        assert copy.clicks.offsets.tolist() == part.clicks.offsets[rows].tolist()
        for row, k in zip(rows.tolist(), kept.tolist(), strict=True):
            assert copy.clicks.user_ids.bytes_at(k) == part.clicks.user_ids.bytes_at(row)
            assert copy.clicks.item_ids.bytes_at(k) == part.clicks.item_ids.bytes_at(row)
            # An error made in the other process names the same record with all it carries.
            here = part.clicks.fail(row, Reason.TOO_LATE, "m")
            there = copy.clicks.fail(k, Reason.TOO_LATE, "m")
            assert there == here
            assert here.value == click(
                user_id=here_user(part, row),
                item_id=part.clicks.item_ids.bytes_at(row).decode(),
                timestamp=int(part.clicks.matrix[kernels.TIME_MS, row]),
            )


def here_user(part: ShardClicks, row: int) -> str:
    return part.clicks.user_ids.bytes_at(row).decode()


def test_pickled_shard_is_small() -> None:
    """In proportion to its rows, not to the batch that it was part of."""
    parts = decoded(2_000)
    sizes = [len(pickle.dumps(part)) / len(part.rows) for part in parts]
    assert max(sizes) < 400, sizes


def test_state_answers_a_pickled_shard_as_the_one_that_never_left() -> None:
    def new_state() -> UserState:
        return UserState(FEATURES, 1_800_000, 8)

    for part in decoded(90):
        copy: ShardClicks = pickle.loads(pickle.dumps(part))
        here = UserFeatures(new_state()).update([part])
        there = UserFeatures(new_state()).update([copy])
        (mine,), (other,) = here, there
        assert isinstance(mine, ShardClicks) and isinstance(other, ShardClicks)
        assert np.array_equal(mine.clicks.features[mine.rows], other.clicks.features[other.rows])
        assert mine.sessions is not None and other.sessions is not None
        for name in ("keys", "items", "times_ms", "bounds", "positions"):
            assert np.array_equal(getattr(mine.sessions, name), getattr(other.sessions, name)), name

        # And once more after features and sessions have been added.
        again: ShardClicks = pickle.loads(pickle.dumps(mine))
        assert again.sessions is not None
        assert np.array_equal(again.clicks.features[again.rows], mine.clicks.features[mine.rows])
        assert np.array_equal(mine.rows[again.sessions.rows], mine.sessions.rows)
