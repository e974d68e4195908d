"""The step `once`: a record that was sent twice under one id counts once.

Whoever sends may not know whether a record has arrived (an answer that got lost, a process that was
killed) and sends it again. Where records carry the header `event-id`, the first one of a key and an
id goes on, and the others fail as `repeated`, so that none disappears unseen. A client's ids need
only differ within its key.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from streamrec.dataflows.errors.failed import Failed
from streamrec.dataflows.errors.redrive import HEADER as REDRIVEN_FROM
from streamrec.dataflows.errors.redrive import Origin
from streamrec.dataflows.job.by_key import ByKey
from streamrec.dataflows.job.settings import Settings
from streamrec.dataflows.steps.batches import ShardClicks
from streamrec.dataflows.steps.records import ShardRecords
from streamrec.schemas.reasons import Reason

IDS_MAX = 1_000_000  # of a shard, so that memory has a bound whatever is sent

R = TypeVar("R", ShardClicks, ShardRecords)


class CountOnce:
    """One shard. Emits what came, without records whose key and id it has seen within `once_s` of
    event time, which it emits as failed. Records without an id pass.

    State: where the first record of each id stood; some 400 bytes an id, for as long as the window.
    """

    def __init__(self, once_s: int, ids_max: int = IDS_MAX) -> None:
        self._once_s = once_s
        self._seen = ByKey(ids_max, once_s * 1_000)

    def update(self, values: list[R]) -> list[R | Failed]:
        """In the order in which they come."""
        out: list[R | Failed] = []
        for each in values:
            ids = each.batch.origins.event_ids()
            if ids and self._once_s:
                self._sift(each, ids, out)
            else:
                out.append(each)
        return out

    def _sift(self, each: R, ids: Mapping[int, bytes], out: list[R | Failed]) -> None:
        batch, rows = each.batch, each.rows.tolist()
        kept = []
        for row, origin_row in zip(rows, batch.origin_rows[each.rows].tolist(), strict=True):
            event_id = ids.get(origin_row)
            first = None if event_id is None else self._first(each, row, origin_row, event_id)
            if first is None:
                kept.append(row)
                continue
            out.append(
                batch.fail(
                    row,
                    Reason.REPEATED,
                    f"header event-id expected an id that its key had not within {self._once_s} s, "
                    f"got {event_id!r} again, which is at {first}",
                )
            )
        if len(kept) == len(rows):
            out.append(each)
        elif kept:
            out.append(replace(each, rows=np.array(kept, np.int64)))

    def _first(self, each: R, row: int, origin_row: int, event_id: bytes) -> str | None:
        """Where a record stood that had the id; None: this is the first, or the first one again,
        put back from the errors."""
        batch = each.batch
        key = f"{batch.keys.bytes_at(row).hex()} {event_id.hex()}"
        time_ms = int(batch.times_ms[row])
        held = self._seen.get(key, time_ms)
        if held is not None and held != _redriven_from(batch.origins.headers(origin_row)):
            return str(held)
        place = Origin(batch.topic, int(batch.partitions[row]), int(batch.offsets[row]))
        self._seen.put(key, str(place), time_ms)
        return None

    def changed(self, whole: bool) -> tuple[pa.Table, dict[str, Any]]:
        return self._seen.changed(whole)

    def restore(self, tables: Sequence[pa.Table], facts: dict[str, Any]) -> None:
        self._seen.restore(tables, facts)


def _redriven_from(headers: Sequence[tuple[str, bytes | None]]) -> str | None:
    for name, value in headers:
        if name == REDRIVEN_FROM and value is not None:
            return value.decode(errors="replace")
    return None


def count_once(settings: Settings) -> Callable[[], CountOnce]:
    """Makes the shards, for `job.keep`."""
    return lambda: CountOnce(settings.once_s)


__all__ = ["CountOnce", "count_once"]
