"""The watermark of each partition, and how a record far ahead of it is weighed, in compiled code.

A watermark is the newest event time seen. One wrong clock must not move it, or all that comes later
would be too late; no clock of ours is asked, so that a replay judges as the first run did. So a
step of up to `horizon_ms` moves it at once. A record further ahead is taken in and becomes a
*candidate*; the watermark follows when `AGREE` later records of other users are as far ahead or
further, less what came near the watermark meanwhile. `AGREE` such records near the watermark, and
as many as there are candidates, refute these: their users begin anew with their next click, as
they do when they contradict themselves.

Until a partition has been seen with more than `AGREE` users its watermark is not *founded*: every
user is a candidate, and the watermark is as far as steps of up to `horizon_ms` lead from the
smallest of them. A record that is more than that behind it is taken in, and moves it back.

What is left out: a user is one by its hash; and of a user whose clicks come by several partitions
each partition judges by what it has seen.
"""

from itertools import chain

import numpy as np
from numpy.typing import NDArray

from streamrec.compiling import helper, kernel

AGREE = 9  # wrong records of so many users do nothing; of one more, they move the watermark
CANDIDATES_MAX = 2 * (AGREE + 1)

# Columns of `marks`, int64, one row a partition; candidates follow, each a time and a user's hash.
# LIMIT_MS: up to here nothing needs to be weighed, -1 while something does. DUE_MS: beyond here
# idle users should be looked for, which are there only where the watermark is founded.
WATERMARK_MS, LIMIT_MS, DUE_MS, FOUNDED, COUNT, AGAINST = range(6)
FIRST_CANDIDATE = 6
MARK_COLUMNS = FIRST_CANDIDATE + 3 * CANDIDATES_MAX
NEVER_MS = 1 << 62


@helper
def weigh(
    marks: NDArray[np.int64],
    partition: int,
    time_ms: int,
    high: int,
    low: int,
    longest_ms: int,
    horizon_ms: int,
    refuted: NDArray[np.int64],
) -> int:
    """Take in a record's time, where there are candidates or it would be one.

    Returns -1 where it is too late, else how many users begin anew before it: `refuted` (k, 3)
    gets their hashes and the times that they are refuted of.
    """
    watermark = marks[partition, WATERMARK_MS]
    founded = marks[partition, FOUNDED] == 1
    if time_ms < watermark - longest_ms and (founded or time_ms >= watermark - horizon_ms):
        return -1
    count = marks[partition, COUNT]
    n_refuted = 0
    own = count
    for i in range(count):
        at = FIRST_CANDIDATE + 3 * i
        if marks[partition, at + 1] == high and marks[partition, at + 2] == low:
            own = i
    if own < count:
        at = FIRST_CANDIDATE + 3 * own
        if time_ms < marks[partition, at] - longest_ms:
            for column in range(3):
                refuted[0, column] = marks[partition, at + column]
            n_refuted = 1
            marks[partition, at] = time_ms
        else:
            marks[partition, at] = max(marks[partition, at], time_ms)

    if founded and time_ms <= watermark + horizon_ms:
        marks[partition, WATERMARK_MS] = max(watermark, time_ms)
        if own < count:
            _remove(marks, partition, own)
        _remove_reached(marks, partition, horizon_ms)
        if marks[partition, COUNT] > 0:
            marks[partition, AGAINST] += 1
            if marks[partition, AGAINST] >= max(AGREE, marks[partition, COUNT]):
                n_refuted = _refute(marks, partition, refuted, n_refuted)
    elif own == count:
        if count == CANDIDATES_MAX:
            n_refuted = _refute(marks, partition, refuted, n_refuted)
        at = FIRST_CANDIDATE + 3 * marks[partition, COUNT]
        marks[partition, at] = time_ms
        marks[partition, at + 1] = high
        marks[partition, at + 2] = low
        marks[partition, COUNT] += 1

    count = marks[partition, COUNT]
    if not founded:
        _move(marks, partition, count, horizon_ms)
        if count > AGREE:
            marks[partition, FOUNDED] = 1
            marks[partition, DUE_MS] = 0
            _remove_reached(marks, partition, horizon_ms)
    elif count - marks[partition, AGAINST] > AGREE:
        _move(marks, partition, AGREE + 1, horizon_ms)
        _remove_reached(marks, partition, horizon_ms)
        marks[partition, AGAINST] = 0
    if marks[partition, COUNT] == 0:
        marks[partition, AGAINST] = 0
    quiet = marks[partition, FOUNDED] == 1 and marks[partition, COUNT] == 0
    marks[partition, LIMIT_MS] = marks[partition, WATERMARK_MS] + horizon_ms if quiet else -1
    return n_refuted


@helper
def _move(marks: NDArray[np.int64], partition: int, agreed: int, horizon_ms: int) -> None:
    """To the largest time that so many candidates reach, and on by steps of up to `horizon_ms`."""
    count = marks[partition, COUNT]
    watermark = np.int64(0)
    for i in range(count):
        time_ms = marks[partition, FIRST_CANDIDATE + 3 * i]
        reached = 0
        for other in range(count):
            reached += marks[partition, FIRST_CANDIDATE + 3 * other] >= time_ms
        if reached >= agreed:
            watermark = max(watermark, time_ms)
    moved = True
    while moved:
        moved = False
        for i in range(count):
            time_ms = marks[partition, FIRST_CANDIDATE + 3 * i]
            if watermark < time_ms <= watermark + horizon_ms:
                watermark = time_ms
                moved = True
    marks[partition, WATERMARK_MS] = watermark


@helper
def _remove(marks: NDArray[np.int64], partition: int, candidate: int) -> None:
    """The last one takes its place."""
    marks[partition, COUNT] -= 1
    last = FIRST_CANDIDATE + 3 * marks[partition, COUNT]
    for column in range(3):
        marks[partition, FIRST_CANDIDATE + 3 * candidate + column] = marks[partition, last + column]
        marks[partition, last + column] = 0


@helper
def _remove_reached(marks: NDArray[np.int64], partition: int, horizon_ms: int) -> None:
    """Those that are not far ahead any more."""
    limit = marks[partition, WATERMARK_MS] + horizon_ms
    for i in range(marks[partition, COUNT] - 1, -1, -1):
        if marks[partition, FIRST_CANDIDATE + 3 * i] <= limit:
            _remove(marks, partition, i)


@helper
def _refute(
    marks: NDArray[np.int64], partition: int, refuted: NDArray[np.int64], n_refuted: int
) -> int:
    """All candidates."""
    for i in range(marks[partition, COUNT]):
        for column in range(3):
            refuted[n_refuted, column] = marks[partition, FIRST_CANDIDATE + 3 * i + column]
            marks[partition, FIRST_CANDIDATE + 3 * i + column] = 0
        n_refuted += 1
    marks[partition, COUNT] = 0
    marks[partition, AGAINST] = 0
    return n_refuted


@kernel("int64(int64[:, ::1], int64, int64, int64, int64, int64, int64, int64[:, ::1])")
def weigh_one(
    marks: NDArray[np.int64],
    partition: int,
    time_ms: int,
    high: int,
    low: int,
    longest_ms: int,
    horizon_ms: int,
    refuted: NDArray[np.int64],
) -> int:
    """`weigh`, for who has one record at a time."""
    return weigh(marks, partition, time_ms, high, low, longest_ms, horizon_ms, refuted)


def no_marks(partitions: int) -> NDArray[np.int64]:
    """Of partitions that nothing has been seen of: (partitions, MARK_COLUMNS)."""
    marks = np.zeros((partitions, MARK_COLUMNS), np.int64)
    marks[:, LIMIT_MS], marks[:, DUE_MS] = -1, NEVER_MS
    return marks


def founded_ms(marks: NDArray[np.int64]) -> NDArray[np.int64]:
    """(partitions,) watermarks that do not go back: 0 where none is founded."""
    return np.where(marks[:, FOUNDED] == 1, marks[:, WATERMARK_MS], 0)


def candidates_of(marks: NDArray[np.int64], partition: int) -> list[list[int]]:
    """A time and the two words of a hash each."""
    end = FIRST_CANDIDATE + 3 * int(marks[partition, COUNT])
    found: list[list[int]] = marks[partition, FIRST_CANDIDATE:end].reshape(-1, 3).tolist()
    return found


def doubts_of(marks: NDArray[np.int64]) -> dict[str, list[int]]:
    """What is to be saved beside the watermarks, by partition, of those that are weighing
    something: whether founded, how many are against, and the candidates."""
    doubted = np.flatnonzero((marks[:, LIMIT_MS] < 0) & (marks[:, COUNT] > 0))
    return {
        str(partition): [
            *marks[partition, [FOUNDED, AGAINST]].tolist(),
            *chain.from_iterable(candidates_of(marks, partition)),
        ]
        for partition in doubted.tolist()
    }


def marks_of(
    watermarks_ms: NDArray[np.int64], doubts: dict[str, list[int]], horizon_ms: int
) -> NDArray[np.int64]:
    """The inverse. Watermarks that stand alone are founded, as those saved before there were
    doubts."""
    marks = no_marks(len(watermarks_ms))
    marks[:, WATERMARK_MS] = watermarks_ms
    marks[:, FOUNDED] = watermarks_ms > 0
    for partition, (founded, against, *candidates) in doubts.items():
        row = marks[int(partition)]
        row[FOUNDED], row[AGAINST], row[COUNT] = founded, against, len(candidates) // 3
        row[FIRST_CANDIDATE : FIRST_CANDIDATE + len(candidates)] = candidates
    founded = marks[:, FOUNDED] == 1
    quiet = founded & (marks[:, COUNT] == 0)
    marks[:, LIMIT_MS] = np.where(quiet, marks[:, WATERMARK_MS] + horizon_ms, -1)
    marks[:, DUE_MS] = np.where(founded, 0, NEVER_MS)
    return marks
