"""The field `served` of outputs in Avro: which model answered what, and how.

It is a nullable record, so that a record which others wrote to such a topic can do without. Columns
hold no nullable records; ours always have it, and are written by `encoding_of`, whose bytes are the
same: the number of the branch stands before the record as a field of its own.
"""

import json
from collections.abc import Sequence
from copy import deepcopy
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamrec.schemas import load
from streamrec.schemas.columns import Bytes, Columns, Numbers, constant, nulls, strings

SERVED = "served"
_BRANCH = "branch"
_RECORD_BRANCH = 1  # after null


class ServedBy(NamedTuple):
    """What all outputs of a batch have in common."""

    model: str
    version: str  # major.minor
    experiment: str | None = None
    variant: str | None = None
    mode: str = "served"  # or "shadow"


def with_served(schema: str) -> str:
    """The schema of a model's outputs, JSON text of a record, with the field `served` at its end.
    Raises ValueError where it is no record, or has a field of that name.

    >>> answer = {"type": "record", "name": "Answer", "fields": [{"name": "x", "type": "int"}]}
    >>> [field["name"] for field in json.loads(with_served(json.dumps(answer)))["fields"]]
    ['x', 'served']
    """
    record = json.loads(schema)
    if not isinstance(record, dict) or record.get("type") != "record":
        kind = record.get("type") if isinstance(record, dict) else record
        raise ValueError(f"schema of outputs expected a record, got {kind!r}")
    if any(field["name"] == SERVED for field in record["fields"]):
        raise ValueError(f"schema of outputs expected no field {SERVED!r}, which is ours, got one")
    doc = "Which model answered. null: written by another program. Since 0.3."
    field = {"name": SERVED, "type": ["null", _served()], "default": None, "doc": doc}
    return json.dumps({**record, "fields": [*record["fields"], field]})


def encoding_of(schema: str) -> str:
    """What `with_served` made, for an encoder of columns: the bytes are the same."""
    record = json.loads(schema)
    *fields, _ = record["fields"]
    inside = _served()
    inside["fields"] = [{"name": _BRANCH, "type": "int"}, *inside["fields"]]
    return json.dumps({**record, "fields": [*fields, {"name": SERVED, "type": inside}]})


def served_columns(
    by: Sequence[ServedBy],
    request_ids: Bytes,
    took_us: NDArray[np.int64],
    source_topic: str,
    places: NDArray[np.int64],
    which: NDArray[np.int32] | None = None,
    propensities: NDArray[np.float64] | None = None,
) -> Columns:
    """The columns of `served` for `encoding_of`, of n outputs: `which` (n,) of `by` gave each, the
    first where it is None; `took_us` (n,), `places` (n, 2) partition and offset of the inputs,
    `propensities` (n,), nan for null."""
    n = len(places)

    def told(name: str) -> Bytes:
        texts = [getattr(each, name) for each in by]
        if which is None or len(by) == 1:
            return nulls(n) if texts[0] is None else constant(texts[0], n)
        held = strings(texts)
        valid = None if held.valid is None else held.valid[which]
        return Bytes(held.data, held.starts[which], held.lengths[which], valid)

    columns: Columns = {
        _BRANCH: Numbers(np.full(n, _RECORD_BRANCH, np.int32)),
        "request_id": request_ids,
        "model": told("model"),
        "version": told("version"),
        "experiment": told("experiment"),
        "variant": told("variant"),
        "propensity": nullable_numbers(propensities, n),
        "mode": told("mode"),
        "took_us": Numbers(took_us),
        "source_topic": constant(source_topic, n),
        "source_partition": Numbers(places[:, 0]),
        "source_offset": Numbers(places[:, 1]),
    }
    return {f"{SERVED}.{name}": column for name, column in columns.items()}


def served_alone() -> str:
    """The schema of `served` alone, for an encoder of columns: what it encodes stands behind the
    fields of an output."""
    empty = {"type": "record", "name": "ServedAlone", "fields": []}
    return encoding_of(with_served(json.dumps(empty)))


def nullable_numbers(values: NDArray[np.float64] | None, n: int) -> Numbers:
    """(n,) numbers, nan being null; None: n nulls."""
    if values is None:
        return Numbers(np.zeros(n), np.zeros(n, np.bool_))
    valid = ~np.isnan(values)
    return Numbers(values) if valid.all() else Numbers(np.where(valid, values, 0.0), valid)


def _served() -> dict[str, Any]:
    return deepcopy(_parsed())


@cache
def _parsed() -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(load(SERVED))
    return parsed


__all__ = [
    "SERVED",
    "ServedBy",
    "encoding_of",
    "nullable_numbers",
    "served_alone",
    "served_columns",
    "with_served",
]
