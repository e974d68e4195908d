"""The step of `dataflows.store`: recommendations, as they came, become what the store is to put."""

import json
from collections.abc import Callable, Sequence
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from streamrec.connectors.log import RawBatch
from streamrec.dataflows.errors.failed import Failed, Origins
from streamrec.dataflows.job.topics import RECOMMENDATIONS
from streamrec.schemas.columns import Bytes, Column, Columns, Numbers
from streamrec.schemas.plain import ValueDecoder
from streamrec.schemas.reasons import Reason
from streamrec.services.store.contract import Item
from streamrec.services.store.sink import Puts
from streamrec.services.store.users import packed, user_key

if TYPE_CHECKING:  # steps run without the engine, which a job wires
    from streamrec.dataflows.job.job import Job

_FIELDS = ("user_id", "source_partition", "source_offset", "requested_at", "item_id", "mode")
_SERVED = b"served"


class NewestOfUsers:
    """Called with what one activation brought. Emits a `Puts` for each partition, and `Failed`.

    Of a record only what orders it is decoded; the store keeps its bytes. Records of shadows, which
    are not to be shown, are left out.
    """

    def __init__(self, decoder: Callable[[], ValueDecoder], lanes: int = 1) -> None:
        """`decoder` is one of `fields_schema()`, for each worker."""
        self._decoder = decoder
        self._lanes = lanes

    def __call__(self, batches: Sequence[RawBatch]) -> list[Puts | Failed]:
        origins = Origins(batches)
        values = list(chain.from_iterable(batch.values for batch in batches))
        decoded = self._decoder().decode(values)
        out: list[Puts | Failed] = [
            origins.fail(each.row, each.reason, each.message, exception=each.exception)
            for each in decoded.failures
        ]
        rows = decoded.rows.tolist()
        items: list[list[Item]] = [[] for _ in batches]
        which = np.searchsorted(origins.ends, decoded.rows, side="right").tolist()
        for row, batch, user, time_ms, partition, offset, item, mode in zip(
            rows, which, *_fields(decoded.columns), strict=True
        ):
            if mode != _SERVED:
                continue
            record = values[row]
            assert record is not None
            if time_ms < 0 or partition < 0 or offset < 0:
                message = (
                    "fields requested_at, source_partition and source_offset expected numbers >= 0"
                    f", got {time_ms}, {partition} and {offset}"
                )
                out.append(origins.fail(row, Reason.INVALID_VALUE, message))
                continue
            items[batch].append((user_key(user), packed(time_ms, partition, offset, item, record)))
        out += [
            Puts(str(batch.partition % self._lanes), found)
            for batch, found in zip(batches, items, strict=True)
            if found
        ]
        return out


def newest_of_users(job: "Job") -> NewestOfUsers:
    """The step for a job."""
    return NewestOfUsers(job.decoder_as(fields_schema()), job.settings.lanes)


def fields_schema() -> str:
    """The schema of recommendations with no other fields than the step reads."""
    schema = json.loads(RECOMMENDATIONS.schema)
    schema["fields"] = [field for field in schema["fields"] if field["name"] in _FIELDS]
    return json.dumps(schema)


def _fields(columns: Columns) -> list[list[bytes] | list[int]]:
    buffers: dict[int, bytes] = {}
    return [
        _texts(columns[name], buffers)
        if isinstance(columns[name], Bytes)
        else _numbers(columns[name])
        for name in (
            "user_id",
            "requested_at",
            "source_partition",
            "source_offset",
            "item_id",
            "mode",
        )
    ]


def _numbers(column: Column) -> list[int]:
    assert isinstance(column, Numbers)
    values: NDArray[np.generic] = column.values
    numbers: list[int] = values.tolist()
    return numbers


def _texts(column: Column, buffers: dict[int, bytes]) -> list[bytes]:
    """`buffers`: those that columns share, by the array's id."""
    assert isinstance(column, Bytes)
    data = buffers.get(id(column.data))
    if data is None:
        data = buffers[id(column.data)] = column.data.tobytes()
    ends = column.starts + column.lengths
    return [data[a:b] for a, b in zip(column.starts.tolist(), ends.tolist(), strict=True)]


__all__ = ["NewestOfUsers", "fields_schema", "newest_of_users"]
