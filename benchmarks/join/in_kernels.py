"""The same join as one kernel over the rows of a shard: what `flow.Offers` says, at a tenth of its
cost."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from bytewax.dataflow import Dataflow
from numba import types
from numpy.typing import NDArray
from typing_extensions import override

from benchmarks.join.flow import FLOW_ID, HOUR_MS, build_flow
from streamrec.compiling import kernel
from streamrec.dataflows.job.encoding import Records
from streamrec.dataflows.job.opening import open_job
from streamrec.dataflows.steps.timed_rows import (
    OWN,
    TIME,
    TOPIC,
    WAITS,
    WHAT,
    HeldInputs,
    TimedRows,
)
from streamrec.models.keyed.kernels import (
    FIRST_ORDER,
    HIGH,
    LOW,
    N_DUE,
    ROWS_TYPE,
    RowArrays,
    count_of,
    first_of,
    next_of,
    note_change,
    pop_due,
    put_due,
    renew,
)
from streamrec.schemas.columns import Bytes, Columns, Numbers, constant, strings

# What a row is beside what it is before its time: an offer within its hour, in the one after, and
# what is done with.
_OPEN, _CLOSED, _DONE = OWN, OWN + 1, OWN + 2
KINDS = ("hit", "closed", "correction")
_HIT, _CLOSE, _CORRECTION = range(3)
# Columns of what is said: whose output, of which offer, and the rest of it.
_SOURCE, _OFFER, _KIND, _NUMBER, _COUNT, _CENTS = range(6)


class OffersInKernels(TimedRows):
    """By user, the offers of the last two hours."""

    numbers: ClassVar[tuple[str, ...]] = ("cents",)
    texts: ClassVar[tuple[str, ...]] = ("offer_id",)
    marks: ClassVar[tuple[str, ...]] = ("count", "sum", "corrections")

    @override
    def run(self, until_ms: int) -> Iterator["Outcomes"]:
        room = 4_096
        while True:
            said = np.empty((room, 6), np.int64)
            gone = np.empty(room, np.int64)
            counts = np.zeros(2, np.int64)
            is_over = _join(self.rows.rows, until_ms, self._offers(), said, gone, counts)
            n, n_gone = counts.tolist()
            if n:
                yield self._outcomes(said[:n])
            self.let_go(gone[:n_gone])
            if is_over:
                return
            if not n_gone and not n:  # a user has more offers than there was room for
                room *= 4

    def _offers(self) -> int:
        """The number of their topic."""
        return [source.name for source in self._sources].index("offers")

    def _outcomes(self, said: NDArray[np.int64]) -> "Outcomes":
        return Outcomes(
            said,
            self.rows.part("shard_key", said[:, _SOURCE]),
            self.rows.part("offer_id", said[:, _OFFER]),
            self.inputs_at(said[:, _SOURCE]),
        )


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What a call of the kernel said: n outputs."""

    said: NDArray[np.int64]  # (n, 6)
    users: Bytes
    offers: Bytes
    inputs: HeldInputs


@kernel(
    types.boolean(
        ROWS_TYPE,
        types.int64,
        types.int64,
        types.int64[:, ::1],
        types.int64[::1],
        types.int64[::1],
    )
)
def _join(
    rows: RowArrays,
    until_ms: int,
    offers: int,
    said: NDArray[np.int64],
    gone: NDArray[np.int64],
    counts: NDArray[np.int64],
) -> bool:
    """Call what is due before a time, while there is room for what is said (r, 6) and for the slots
    that are done with (r,); `counts` says how many they were. Returns whether all was called."""
    fixed, words, heap, counters = rows.fixed, rows.words, rows.heap, rows.counters
    cents, count, total, corrections = 8, 9, 10, 11  # columns of words, as `word` says
    n, n_gone = 0, 0
    while counters[N_DUE] > 0 and heap[0, 0] < until_ms:
        slot = heap[0, 1]
        first = first_of(rows, fixed[slot, HIGH], fixed[slot, LOW])
        if n + count_of(rows, first) + 1 > len(said) or n_gone == len(gone):
            counts[0], counts[1] = n, n_gone
            return False
        pop_due(rows, until_ms)
        if words[slot, TOPIC] == offers:
            if words[slot, WHAT] == WAITS:
                words[slot, WHAT] = _OPEN
                fixed[slot, FIRST_ORDER] = 1  # after records of its time
                renew(rows, slot)  # in its key behind those that were called before
                put_due(rows, slot, words[slot, TIME] + HOUR_MS)
                continue
            if words[slot, WHAT] == _OPEN:
                words[slot, WHAT] = _CLOSED
                put_due(rows, slot, words[slot, TIME] + 2 * HOUR_MS)
                said[n, _SOURCE], said[n, _OFFER], said[n, _KIND] = slot, slot, _CLOSE
                said[n, _NUMBER] = 0
                said[n, _COUNT], said[n, _CENTS] = words[slot, count], words[slot, total]
                n += 1
                continue
        else:
            hits = 0
            other = first
            while other >= 0:
                what = words[other, WHAT]
                if words[other, TOPIC] == offers and what in (_OPEN, _CLOSED):
                    words[other, count] += 1
                    words[other, total] += words[slot, cents]
                    said[n, _OFFER] = other
                    if what == _OPEN:
                        said[n, _SOURCE], said[n, _KIND], said[n, _NUMBER] = slot, _HIT, hits
                        hits += 1
                    else:
                        said[n, _SOURCE], said[n, _KIND] = other, _CORRECTION
                        said[n, _NUMBER] = words[other, corrections]
                        words[other, corrections] += 1
                    said[n, _COUNT], said[n, _CENTS] = words[other, count], words[other, total]
                    note_change(rows, other)
                    n += 1
                other = next_of(rows, other)
        words[slot, WHAT] = _DONE
        gone[n_gone] = slot
        n_gone += 1
    counts[0], counts[1] = n, n_gone
    return True


def outcome_columns(batch: list[Outcomes]) -> Iterable[Records]:
    """One record for each output."""
    for each in batch:
        said, n = each.said, len(each.said)
        kinds = np.array(KINDS, object)[said[:, _KIND]].tolist()
        places = each.inputs.places(np.arange(n))
        columns: Columns = {
            "user_id": each.users,
            "source_topic": strings(each.inputs.topic),
            "source_partition": Numbers(places[:, 0].astype(np.int32)),
            "source_offset": Numbers(places[:, 1]),
            "dataflow": constant(FLOW_ID, n),
            "kind": strings(kinds),
            "number": Numbers(said[:, _NUMBER].astype(np.int32)),
            "offer_id": each.offers,
            "count": Numbers(said[:, _COUNT].astype(np.int32)),
            "cents": Numbers(np.ascontiguousarray(said[:, _CENTS])),
        }
        yield Records(columns, each.inputs, np.arange(n), kinds, said[:, _NUMBER])


def flow() -> Dataflow:
    """The join on real connectors, as the settings say."""
    return build_flow(open_job(FLOW_ID), OffersInKernels, outcome_columns)


__all__: list[Any] = ["OffersInKernels", "Outcomes", "flow", "outcome_columns"]
