"""The field `served` of outputs in Avro: which model answered what, and how.

It is a nullable record, so that a record which others wrote to such a topic can do without. Columns
hold no nullable records; ours always have it, and are written by `encoding_of`, whose bytes are the
same: the number of the branch stands before the record as a field of its own.
"""

import json
from copy import deepcopy
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamrec.schemas import load
from streamrec.schemas.columns import Bytes, Columns, Numbers, constant, nulls

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
    by: ServedBy,
    request_ids: Bytes,
    took_us: int,
    source_topic: str,
    places: NDArray[np.int64],
    propensities: NDArray[np.float64] | None = None,
) -> Columns:
    """The columns of `served` for `encoding_of`, of n outputs: `places` (n, 2) partition and offset
    of the inputs, `propensities` (n,), nan for null."""
    n = len(places)
    told: Columns = {
        _BRANCH: Numbers(np.full(n, _RECORD_BRANCH, np.int32)),
        "request_id": request_ids,
        "model": constant(by.model, n),
        "version": constant(by.version, n),
        "experiment": nulls(n) if by.experiment is None else constant(by.experiment, n),
        "variant": nulls(n) if by.variant is None else constant(by.variant, n),
        "propensity": nullable_numbers(propensities, n),
        "mode": constant(by.mode, n),
        "took_us": Numbers(np.full(n, took_us, np.int64)),
        "source_topic": constant(source_topic, n),
        "source_partition": Numbers(places[:, 0]),
        "source_offset": Numbers(places[:, 1]),
    }
    return {f"{SERVED}.{name}": column for name, column in told.items()}


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
    "served_columns",
    "with_served",
]
