"""Clicks in order of their times, however many: sorted in parts, which wait in files of their own,
and merged. Of equal times the order of the files is kept.

A log that is in order already is one part, read back as it was written. Memory: a part while it is
sorted, then a piece of each of up to `_PARTS_MAX` parts.
"""

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from streamrec.connectors.click_files.clicks import SCHEMA, FileClicks
from streamrec.connectors.click_files.rejecting import ClickFileError

_PART_BYTES = 12 << 20
_PIECE_ROWS = 2_048
_PARTS_MAX = 48


def in_time_order(
    batches: Iterable[FileClicks], part_bytes: int = _PART_BYTES
) -> Iterator[FileClicks]:
    """The same clicks, by time. Raises ClickFileError where there is no room to sort them."""
    try:
        with ExitStack() as at_end:
            parts = _Parts(at_end, part_bytes)
            for clicks in batches:
                parts.add(clicks.batch)
            yield from map(FileClicks, parts.merged())
    except OSError as error:
        raise ClickFileError(
            f"sorting by time in {tempfile.gettempdir()} failed: {error.strerror or error}; TMPDIR "
            "names another folder, and --as-is keeps the order of the file"
        ) from error


@dataclass
class _Parts:
    """Sorted parts in files, oldest rows of the input first."""

    at_end: ExitStack
    part_bytes: int
    _folder: Path | None = None  # made when it is needed
    _files: list[Path] = field(default_factory=list)
    _made: int = 0
    _last_ms: int = 0  # of the newest part
    _waiting: list["pa.RecordBatch"] = field(default_factory=list)
    _waiting_bytes: int = 0
    _out: "pa.ipc.RecordBatchStreamWriter | None" = None  # the newest part, while it may go on

    def add(self, batch: "pa.RecordBatch") -> None:
        if not batch.num_rows:
            return
        self._waiting.append(batch)
        self._waiting_bytes += batch.nbytes
        if self._waiting_bytes >= self.part_bytes:
            self._write(self._sorted_waiting())

    def merged(self) -> Iterator["pa.RecordBatch"]:
        if not self._files:  # all of it fits
            if self._waiting:
                yield self._sorted_waiting()
            return
        if self._waiting:
            self._write(self._sorted_waiting())
        self._end_part()
        while len(self._files) > _PARTS_MAX:
            first, self._files = self._files[:_PARTS_MAX], self._files[_PARTS_MAX:]
            target = self._new_path()
            with _writer(target) as out:
                for batch in _merge(first):
                    out.write_batch(batch)
            for each in first:
                each.unlink()
            self._files.insert(0, target)
        yield from _merge(self._files)

    def _sorted_waiting(self) -> "pa.RecordBatch":
        batch = pa.concat_batches(self._waiting)
        self._waiting, self._waiting_bytes = [], 0
        return _by_time(batch)

    def _write(self, batch: "pa.RecordBatch") -> None:
        times = _times(batch)
        if self._out is None or times[0] < self._last_ms:
            self._end_part()
            self._files.append(self._new_path())
            self._out = _writer(self._files[-1])
        for start in range(0, batch.num_rows, _PIECE_ROWS):
            self._out.write_batch(batch.slice(start, _PIECE_ROWS))
        self._last_ms = int(times[-1])
        # The allocator would keep what a part took for long.
        pa.default_memory_pool().release_unused()

    def _end_part(self) -> None:
        if self._out is not None:
            self._out.close()
            self._out = None

    def _new_path(self) -> Path:
        if self._folder is None:
            made = tempfile.TemporaryDirectory(prefix="streamrec-")
            self._folder = Path(self.at_end.enter_context(made))
        self._made += 1
        return self._folder / f"{self._made}.arrow"


def _writer(path: Path) -> "pa.ipc.RecordBatchStreamWriter":
    return pa.ipc.new_stream(str(path), SCHEMA)


class _Reader:
    """A part, a piece at a time."""

    def __init__(self, path: Path) -> None:
        self._pieces = iter(pa.ipc.open_stream(pa.OSFile(str(path))))
        self.piece: pa.RecordBatch | None = None
        self.more = True
        self.next_piece()

    def next_piece(self) -> None:
        following = next(self._pieces, None)
        if following is None:
            self.more = False
            return
        self.piece = following

    def take(self, end_ms: int, with_end: bool) -> "pa.RecordBatch | None":
        """Take out what is before a time, and at it."""
        if self.piece is None:
            return None
        cut = int(np.searchsorted(_times(self.piece), end_ms, "right" if with_end else "left"))
        taken = self.piece.slice(0, cut)
        rest = self.piece.slice(cut)
        self.piece = rest if rest.num_rows else None
        return taken if cut else None


def _merge(paths: list[Path]) -> Iterator["pa.RecordBatch"]:
    parts = [_Reader(path) for path in paths]
    while True:
        for part in parts:
            if part.piece is None and part.more:
                part.next_piece()
        # What is before the end of every piece is all there. The first of those that end first may
        # go on with the same time, and so those behind it wait with theirs.
        ends = [
            int(_times(part.piece)[-1]) if part.piece is not None and part.more else None
            for part in parts
        ]
        open_ends = [end for end in ends if end is not None]
        if not open_ends:
            left = [part.piece for part in parts if part.piece is not None]
            if left:
                yield _by_time(pa.concat_batches(left))
            return
        end_ms = min(open_ends)
        first = ends.index(end_ms)
        taken = [part.take(end_ms, place <= first) for place, part in enumerate(parts)]
        yield _by_time(pa.concat_batches([each for each in taken if each is not None]))


def _times(batch: "pa.RecordBatch") -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    return np.asarray(batch.column("timestamp").to_numpy())


def _by_time(batch: "pa.RecordBatch") -> "pa.RecordBatch":
    times = _times(batch)
    if (times[1:] >= times[:-1]).all():
        return batch
    return batch.take(pa.array(np.argsort(times, kind="stable")))
