"""Clicks by time in parts that do not fit the memory: the same as a sort of all of them."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from streamrec.connectors.click_files import sorting
from streamrec.connectors.click_files.clicks import SCHEMA, FileClicks
from streamrec.connectors.click_files.rejecting import ClickFileError
from streamrec.connectors.click_files.sorting import in_time_order


def batches(times: NDArray[np.int64], size: int = 500) -> Iterator[FileClicks]:
    """Clicks whose items are their places in the file."""
    for start in range(0, len(times), size):
        part = times[start : start + size]
        places = np.arange(start, start + len(part)).astype(str)
        columns = [
            pa.array(["u"] * len(part), pa.large_string()), pa.array(places, pa.large_string()),
            pa.array([0] * len(part), pa.int32()), pa.array(part, pa.int64()),
            pa.nulls(len(part), pa.int64()), pa.nulls(len(part), pa.large_string()),
            pa.array(places, pa.large_string()),
        ]  # fmt: skip
        yield FileClicks(pa.RecordBatch.from_arrays(columns, schema=SCHEMA))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("distinct", [1, 3, 100_000], ids=lambda n: f"{n} times")
def test_many_parts_are_merged_stably(
    seed: int, distinct: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With pieces of 64 rows and 5 parts at once, parts are merged in several rounds."""
    monkeypatch.setattr(sorting, "_PIECE_ROWS", 64)
    monkeypatch.setattr(sorting, "_PARTS_MAX", 5)
    rng = np.random.default_rng(seed)
    times = rng.integers(1, 1 + distinct, 20_000)
    merged = list(in_time_order(batches(times), part_bytes=20_000))
    assert len(merged) > 20
    items = [int(i) for each in merged for i in each.batch.column("item_id").to_pylist()]
    assert items == np.argsort(times, kind="stable").tolist()
    sessions = [int(i) for each in merged for i in each.batch.column("session_id").to_pylist()]
    assert sessions == items  # a row stays together


def test_a_log_in_order_is_one_part_and_no_file_is_left(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    merged = in_time_order(batches(np.arange(1, 20_001)), part_bytes=20_000)
    first = next(merged)
    (folder,) = tmp_path.iterdir()
    assert len(list(folder.iterdir())) == 1
    rest = list(merged)
    assert len(first) + sum(map(len, rest)) == 20_000
    assert list(tmp_path.iterdir()) == []


def test_what_fits_the_memory_needs_no_file_and_where_there_is_no_room_it_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "not-there" / "deeper"))
    times = np.arange(2_000, 0, -1)
    assert [len(each) for each in in_time_order(batches(times))] == [2_000]
    with pytest.raises(ClickFileError, match=r"sorting by time in .* failed: .*--as-is"):
        list(in_time_order(batches(times), part_bytes=20_000))
