"""Rows of features in few bytes: the same numbers as an array of float32."""

import numpy as np
import pytest

from streamrec.models.training.packed import Growing, PackedRows


@pytest.mark.parametrize("seed", range(5))
def test_packed_rows_are_the_rows_that_were_added(seed: int) -> None:
    rng = np.random.default_rng(seed)
    kinds = [
        rng.integers(0, 5, 10_000), rng.integers(0, 300, 10_000), rng.integers(0, 10**9, 10_000),
        rng.random(10_000), -rng.integers(0, 5, 10_000),
        70_000.5 * rng.integers(0, 2, 10_000),
    ]  # fmt: skip
    rows = np.stack(kinds, axis=1).astype(np.float32)
    packed = PackedRows(rows.shape[1])
    at = 0
    while at < len(rows):
        size = int(rng.integers(0, 3_000))
        packed.add(rows[at : at + size])
        at += size
    assert len(packed) == len(rows)
    assert np.array_equal(packed[:], rows)
    some = rng.integers(0, len(rows), 500)
    assert np.array_equal(packed[some], rows[some])
    assert packed[np.zeros(0, np.int64)].shape == (0, 6)
    order = rng.permutation(len(rows))
    other = packed.reordered(order).first(7_000)
    assert len(other) == 7_000
    assert np.array_equal(other[some % 7_000], rows[order][some % 7_000])
    assert np.array_equal(packed.first(3_000)[2_990:5_000], rows[2_990:3_000])
    assert np.array_equal(other.reordered(np.arange(10))[:], rows[order][:10])


def test_growing_arrays_hold_what_was_added() -> None:
    rng = np.random.default_rng(0)
    parts = [rng.integers(0, 9, int(n)) for n in rng.integers(0, 5_000, 40)]
    growing = Growing()
    for part in parts:
        growing.add(part)
    assert len(growing) == sum(map(len, parts))
    assert np.array_equal(growing.whole(), np.concatenate(parts))
