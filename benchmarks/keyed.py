"""Rows by key (`models.keyed.rows`): what adding, calling and removing one costs at ten thousand
and at a million rows held, and what a snapshot costs when one row in a hundred has changed.

A row has two words and a part of 40 bytes. Batches come at a steady rate, and a row is due at any
time within twice its mean lifetime, so that about as many are due in each batch as it adds.
"""

import statistics
import time

import numpy as np
from numpy.typing import NDArray

from benchmarks.figures import Figure
from benchmarks.place import Place
from streamrec.models.keyed.rows import KeyedRows
from streamrec.schemas.columns import Bytes

NAME = "keyed"
EVENTS = 1_000_000  # rows held at most, and added in each run
HELD_FEW_PER_EVENT = 0.01
BATCH = 1_000
US_PER_ROW_MAX = 1.0
CHANGED_SHARE = 0.01
PART_BYTES = 40


def run(place: Place, events: int) -> list[Figure]:
    """Needs no log."""
    figures: list[Figure] = []
    for held in (max(int(events * HELD_FEW_PER_EVENT), BATCH), events):
        name = f"{NAME}.rows_{held}"
        rows, (add_us, due_us, remove_us) = at(held, events)
        total = add_us + due_us + remove_us
        figures += [
            Figure(f"{name}.add_due_remove", total, "us/row", US_PER_ROW_MAX),
            Figure(f"{name}.add", add_us, "us/row"),
            Figure(f"{name}.due", due_us, "us/row"),
            Figure(f"{name}.remove", remove_us, "us/row"),
            Figure(f"{name}.memory", rows.nbytes / len(rows), "bytes/row"),
            *snapshots(name, rows),
        ]
    return figures


def at(held: int, events: int) -> tuple[KeyedRows, tuple[float, float, float]]:
    """Rows with about so many held, and the median of a batch's cost for each row in us."""
    rng = np.random.default_rng(held)
    rows = KeyedRows(("a", "b"), ("value",))
    _fill(rows, rng, held)
    adds: list[float] = []
    dues: list[float] = []
    removes: list[float] = []
    for now_ms in range(0, events, BATCH):
        batch = _made(rng, now_ms + rng.integers(0, 2 * held, BATCH))
        started = time.perf_counter()
        rows.add(*batch)
        added = time.perf_counter()
        slots = rows.due(now_ms + BATCH)
        called = time.perf_counter()
        rows.remove(slots)
        removed = time.perf_counter()
        n_due = max(len(slots), 1)
        adds.append((added - started) / BATCH)
        dues.append((called - added) / n_due)
        removes.append((removed - called) / n_due)
    medians = (1e6 * statistics.median(costs) for costs in (adds, dues, removes))
    return rows, (next(medians), next(medians), next(medians))


def snapshots(name: str, rows: KeyedRows) -> list[Figure]:
    """All of it, then what one in a hundred is."""
    started = time.perf_counter()
    whole = rows.changed(True)
    whole_s = time.perf_counter() - started
    rng = np.random.default_rng(1)
    chosen = rng.permutation(np.flatnonzero(rows.rows.state))
    rows.note_changed(chosen[: int(len(chosen) * CHANGED_SHARE)])
    started = time.perf_counter()
    change = rows.changed(False)
    change_s = time.perf_counter() - started
    return [
        Figure(f"{name}.snapshot_whole", 1e3 * whole_s, "ms"),
        Figure(f"{name}.snapshot_1_percent", 1e3 * change_s, "ms"),
        Figure(f"{name}.snapshot_1_percent_bytes", change.nbytes / whole.nbytes, "of whole", 0.02),
    ]


def _fill(rows: KeyedRows, rng: np.random.Generator, held: int) -> None:
    """As many as stay held, with what is left of their lifetimes when some are young, some old."""
    for _ in range(0, held, BATCH):
        left_ms = 2 * held * (1 - np.sqrt(1 - rng.random(BATCH)))
        rows.add(*_made(rng, left_ms.astype(np.int64)))


def _made(
    rng: np.random.Generator, due_ms: NDArray[np.int64]
) -> tuple[
    NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], dict[str, Bytes]
]:
    """Rows as `KeyedRows.add` takes them, each of a key of its own."""
    n = len(due_ms)
    hashes = rng.integers(-(2**63), 2**63 - 1, (n, 2))
    data = np.zeros(n * PART_BYTES, np.uint8)
    value = Bytes(data, np.arange(n) * PART_BYTES, np.full(n, PART_BYTES))
    return (
        hashes,
        due_ms,
        rng.integers(0, 99, (n, 4)),
        rng.integers(0, 99, (n, 2)),
        {"value": value},
    )
