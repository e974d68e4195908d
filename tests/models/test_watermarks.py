"""What one wrong clock does to others, to its own user, and to memory; and what a silence does."""

import numpy as np
import pytest
from numpy.typing import NDArray

from streamrec.models.users import kernels
from streamrec.models.users.features import HOUR_MS, MINUTE_MS, compile_features, declared_features
from streamrec.models.users.state import UserState
from streamrec.models.users.watermarks import AGREE, CANDIDATES_MAX
from streamrec.schemas.columns import Bytes

FEATURES = compile_features(declared_features())
START_MS = 1_760_000_000_000
TEN_YEARS_MS = 10 * 365 * 24 * HOUR_MS
SINCE_LAST = FEATURES.names.index("seconds_since_last")
CLICKS = FEATURES.names.index("session_clicks")

Click = tuple[int, int]  # user and time


def columns(clicks: list[Click], partitions: list[int] | None = None) -> NDArray[np.int64]:
    matrix = np.zeros((kernels.CLICK_ROWS, len(clicks)), np.int64)
    matrix[kernels.HASH_LOW] = [user for user, _ in clicks]
    matrix[kernels.TIME_MS] = [time_ms for _, time_ms in clicks]
    matrix[kernels.PRICE_CENTS] = kernels.NO_PRICE
    if partitions is not None:
        matrix[kernels.PARTITION] = partitions
    return matrix


def take_in(
    state: UserState, clicks: list[Click], partitions: list[int] | None = None
) -> tuple[NDArray[np.float32], list[int]]:
    """Features, and which clicks are too late."""
    n = len(clicks)
    ids = Bytes(np.frombuffer(b"u", np.uint8), np.zeros(n, np.int64), np.ones(n, np.int64))
    features, status = np.zeros((n, len(FEATURES)), np.float32), np.zeros(n, np.int8)
    partition_count = max(partitions or [0]) + 1
    state.update(columns(clicks, partitions), np.arange(n), ids, features, status, partition_count)
    return features, np.flatnonzero(status).tolist()


def new_state() -> UserState:
    return UserState(FEATURES)


def ordinary(n: int, start_ms: int = START_MS, users: int = 40) -> list[Click]:
    """A click a minute, of users in turn."""
    return [(1 + i % users, start_ms + i * MINUTE_MS) for i in range(n)]


@pytest.mark.parametrize("at", [0, 1, 5, 100])
def test_one_record_ten_years_ahead_makes_no_other_too_late(at: int) -> None:
    clicks = ordinary(300)
    expected, _ = take_in(new_state(), clicks)
    wrong = (999, clicks[at][1] + TEN_YEARS_MS)
    state = new_state()

    features, late = take_in(state, [*clicks[:at], wrong, *clicks[at:]])

    assert late == []
    np.testing.assert_array_equal(np.delete(features, at, axis=0), expected)
    assert state.watermarks_ms.tolist() == [clicks[-1][1]]


@pytest.mark.parametrize("at", [0, 1, 5, 100])
def test_the_wrong_records_own_user_begins_anew(at: int) -> None:
    clicks = ordinary(300)
    user = clicks[at][0]
    state = new_state()

    features, late = take_in(state, [*clicks[:at], (user, START_MS + TEN_YEARS_MS), *clicks[at:]])

    assert late == []
    others = [row for row, (who, _) in enumerate(clicks) if who == user and row >= at]
    alone, _ = take_in(new_state(), [clicks[row] for row in others])
    np.testing.assert_array_equal(features[[row + 1 for row in others]], alone)
    slot = state.find(0, user)
    assert state.words[slot, kernels.NEWEST_MS] == clicks[others[-1]][1]


def test_users_of_wrong_records_are_dropped_like_others() -> None:
    state = new_state()
    clicks = ordinary(100)
    take_in(state, clicks)
    wrong = [(1_000 + i, START_MS + TEN_YEARS_MS + i) for i in range(AGREE)]
    take_in(state, wrong)
    assert all(state.find(0, user) >= 0 for user, _ in wrong)

    take_in(state, ordinary(300, start_ms=clicks[-1][1]))

    assert all(state.find(0, user) < 0 for user, _ in wrong)
    assert len(state) == 40
    assert state.doubts == {}


def test_as_many_wrong_records_as_agree_do_nothing_and_one_more_moves_the_watermark() -> None:
    """And it moves to the lowest of them."""
    state = new_state()
    clicks = ordinary(100)
    take_in(state, clicks)
    far_ms = START_MS + TEN_YEARS_MS
    wrong = [(1_000 + i, far_ms + i * 24 * HOUR_MS) for i in range(AGREE + 1)]

    take_in(state, [*wrong[:-1], wrong[0], wrong[0]])  # one user has one voice
    assert state.watermarks_ms.tolist() == [clicks[-1][1]]
    _, late = take_in(state, [wrong[-1], *clicks[-2:]])

    assert late == [1, 2]
    assert state.watermarks_ms.tolist() == [far_ms]


def test_wrong_clocks_of_a_tenth_of_the_users_do_nothing() -> None:
    """As of one server in ten. Each right click takes back one wrong."""
    rng = np.random.default_rng(5)
    clicks = ordinary(20_000, users=500)
    wrong = rng.random(len(clicks)) < 0.1
    mixed = [
        (user, time_ms + 8 * HOUR_MS * int(ahead))
        for (user, time_ms), ahead in zip(clicks, wrong, strict=True)
    ]
    state = new_state()

    _, late = take_in(state, mixed)

    assert late == []
    assert START_MS < state.watermarks_ms[0] <= clicks[-1][1]
    assert len(state) <= 500


@pytest.mark.parametrize("silence_h", [1.9, 3, 24 * 365])
def test_a_silence_loses_nothing(silence_h: float) -> None:
    """Features are those of a recount, and the watermark follows once enough users are back."""
    before = ordinary(100)
    after = ordinary(100, start_ms=before[-1][1] + int(silence_h * HOUR_MS))
    alone, _ = take_in(new_state(), after)
    state = new_state()

    features, late = take_in(state, [*before, *after])

    assert late == []
    if silence_h > 2:
        np.testing.assert_array_equal(features[100:], alone)
        assert len(state) == 40
    assert state.watermarks_ms.tolist() == [after[-1][1]]


def test_late_clicks_in_between_do_not_undo_a_silences_end() -> None:
    before, silence_ms = ordinary(100), 3 * HOUR_MS
    after = ordinary(40, start_ms=before[-1][1] + silence_ms)
    late_ms = before[-1][1] - 10 * MINUTE_MS
    mixed = [
        click for i, a in enumerate(after) for click in ([a, (77, late_ms)][: 1 + (i % 3 == 0)])
    ]
    state = new_state()
    take_in(state, before)

    features, late = take_in(state, mixed)

    # Before the watermark has followed they are not too late, afterwards they are.
    assert late == [row for row, (user, _) in enumerate(mixed) if user == 77][-len(late) :]
    assert 0 < len(late) < 14
    assert state.watermarks_ms.tolist() == [after[-1][1]]
    own = [row for row, (user, _) in enumerate(mixed) if user != 77]
    alone, _ = take_in(new_state(), after)
    np.testing.assert_array_equal(features[own][:, CLICKS], alone[:, CLICKS])


def test_doubts_never_hold_more_than_their_bound() -> None:
    """Clicks near and far in turn, of ever new users."""
    state = new_state()
    take_in(state, ordinary(100))
    for i in range(500):
        ahead_ms = TEN_YEARS_MS * (i % 2)
        take_in(state, [(5_000 + i, START_MS + 100 * MINUTE_MS + ahead_ms)])
        candidates = state.doubts.get("0", [0, 0])[2:]
        assert len(candidates) <= 3 * CANDIDATES_MAX
    assert state.watermarks_ms.tolist() == [START_MS + 100 * MINUTE_MS]


def test_a_users_windows_outlive_a_wrong_neighbours_refutation_in_the_same_batch() -> None:
    """A user refuted in mid-batch begins anew between its two clicks, wherever batches end."""
    clicks = [
        *ordinary(50),
        (999, START_MS + TEN_YEARS_MS),
        *ordinary(AGREE + 3, start_ms=START_MS + 50 * MINUTE_MS),
        (999, START_MS + TEN_YEARS_MS + 1_000),
    ]
    whole, _ = take_in(new_state(), clicks)
    single = new_state()
    one_by_one = np.concatenate([take_in(single, [click])[0] for click in clicks])

    np.testing.assert_array_equal(whole, one_by_one)
    assert whole[-1, CLICKS] == 1
    assert whole[-1, SINCE_LAST] == FEATURES.longest_ms / 1000


def test_partitions_read_one_after_the_other_keep_active_users_only() -> None:
    """As a backlog or a replay may be read: the newest watermark of all moves at first only."""
    state, hours, per_hour = new_state(), 12, 1_000
    sizes = []
    for partition in range(4):
        for hour in range(hours):
            user = (partition * hours + hour) * per_hour
            clicks = [
                (1 + user + i, START_MS + hour * HOUR_MS + i * (HOUR_MS // per_hour))
                for i in range(per_hour)
            ]
            for start in range(0, per_hour, 100):
                part = clicks[start : start + 100]
                take_in(state, part, [partition] * len(part))
                sizes.append(len(state))
    # Within two hours of where each partition's reading stands, an eighth of that until the sweep,
    # and a quarter more while many are due.
    active = 4 * 2 * per_hour
    assert max(sizes) <= active * 1.25 * 1.25
    in_one = sizes[: hours * 10]
    assert max(in_one[60:]) <= max(in_one[:60]) * 1.25


def test_partitions_read_in_turns_far_apart_keep_active_users_only() -> None:
    """One partition is a day behind the other: neither's users wait for the other's watermark."""
    state = new_state()
    most = 0
    for hour in range(30):
        for partition, lag_h in enumerate((0, 24)):
            at_ms = START_MS + (100 + hour - lag_h) * HOUR_MS
            first = (partition * 100 + hour) * 500
            clicks = [(1 + first + i, at_ms + i * 7_000) for i in range(500)]
            take_in(state, clicks, [partition] * 500)
            most = max(most, len(state))
    assert most <= 2 * 3 * 500 * 1.25
