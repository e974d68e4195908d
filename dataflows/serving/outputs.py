"""What is written of a model's answers: JSON as it is, or Avro with the record `served`."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamrec.connectors.log import Detail, Headers
from streamrec.connectors.per_thread import PerThread
from streamrec.dataflows.job.encoding import Records
from streamrec.dataflows.serving.inputs import Answered
from streamrec.schemas.columns import Columns, strings
from streamrec.schemas.encoder import Encoder
from streamrec.schemas.served import ServedBy, served_alone, served_columns

REQUEST_ID = "streamrec-request-id"
MODEL = "streamrec-model"
TOOK_US = "streamrec-took-us"
EXPERIMENT = "streamrec-experiment"
VARIANT = "streamrec-variant"
PROPENSITY = "streamrec-propensity"
MODE = "streamrec-mode"
SERVED, SHADOW = "served", "shadow"
_OURS = frozenset((MODEL, TOOK_US, EXPERIMENT, VARIANT, PROPENSITY, MODE))

# One encoder for all: json.dumps makes one a call.
to_json: Callable[[object], str] = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":")
).encode


def _values(answers: Sequence[Any]) -> list[bytes]:
    """Each as JSON; half a surrogate pair, which UTF-8 cannot say, as its escape."""
    return [to_json(answer).encode(errors="backslashreplace") for answer in answers]


@dataclass(frozen=True, slots=True)
class JsonOutputs:
    """The records of a pipeline's outputs as JSON: exactly what the model said.

    Key, headers and time of an input are its output's. On top of them stand who answered and the id
    of the request; the input itself is told by the headers of `job.answers`.
    """

    by: Sequence[ServedBy]  # of each variant
    kind: str = ""  # of the output, where it is not the one that is served

    def __call__(self, items: list[Answered]) -> Iterator[Records]:
        for answered in items:
            assert answered.answers is not None
            details = answered.inputs.details(answered.rows)
            own = self._own(answered)
            places = answered.inputs.places(answered.rows).tolist()
            topic = answered.inputs.topic
            yield Records(
                {},
                answered.inputs,
                answered.rows,
                kinds=self.kind,
                keys=[detail.key for detail in details],
                values=_values(answered.answers),
                headers=[
                    _joined(detail.headers, headers, topic, place)
                    for detail, headers, place in zip(details, own, places, strict=True)
                ],
                times_ms=_times_ms(details),
            )

    def _own(self, answered: Answered) -> list[Headers]:
        """Of each answer, who gave it."""
        took = [(TOOK_US, b"%d" % us) for us in answered.took_us.tolist()]
        said = [_said(by) for by in self.by]
        if answered.assigned is None:
            return [[*said[0], each] for each in took]
        assigned = answered.assigned
        return [
            [*said[which], each, (PROPENSITY, repr(propensity).encode())]
            if propensity == propensity
            else [*said[which], each]
            for each, which, propensity in zip(
                took, assigned.variants.tolist(), assigned.propensities.tolist(), strict=True
            )
        ]


class AvroOutputs:
    """The same as Avro: the fields of the model's output schema, and `served`."""

    def __init__(
        self, by: Sequence[ServedBy], schema_id: Callable[[], int], kind: str = ""
    ) -> None:
        """`schema_id` is the id of the outputs' schema, asked when it is needed; `kind` as of
        `JsonOutputs`."""
        self._by = by
        self._kind = kind
        self._schema_id = schema_id
        self._encoder = PerThread(lambda: Encoder(served_alone()))

    def __call__(self, items: list[Answered]) -> Iterator[Records]:
        for answered in items:
            yield self._records(answered)

    def _records(self, answered: Answered) -> Records:
        inputs, rows, assigned = answered.inputs, answered.rows, answered.assigned
        details = inputs.details(rows)
        places = inputs.places(rows)
        served = served_columns(
            self._by,
            strings(_request_ids(details, inputs.topic, places)),
            answered.took_us,
            inputs.topic,
            places,
            None if assigned is None else assigned.variants,
            None if assigned is None else assigned.propensities,
        )
        columns: Columns = {}
        values: list[bytes] | None = None
        if answered.columns is not None:
            columns = {**answered.columns, **served}
        else:
            values = self._joined(answered, served)
        return Records(
            columns,
            inputs,
            rows,
            kinds=self._kind,
            keys=[detail.key for detail in details],
            values=values,
            headers=[d.headers for d in details] if any(d.headers for d in details) else None,
            times_ms=_times_ms(details),
        )

    def _joined(self, answered: Answered, served: Columns) -> list[bytes]:
        """A record is its fields, one after the other: those of the answer are encoded already."""
        assert answered.answers is not None
        prefix = b"\0" + self._schema_id().to_bytes(4, "big")
        ends = self._encoder().encode(served)
        assert not ends.failures, ends.failures
        return [
            prefix + answer + end for answer, end in zip(answered.answers, ends.values, strict=True)
        ]


def _said(by: ServedBy) -> Headers:
    said: Headers = [(MODEL, f"{by.model}/{by.version}".encode())]
    if by.experiment is not None:
        said += [
            (EXPERIMENT, by.experiment.encode()),
            (VARIANT, (by.variant or "").encode()),
            (MODE, by.mode.encode()),
        ]
    return said


def _joined(given: Headers, own: Headers, topic: str, place: list[int]) -> Headers:
    """An input's own headers, then ours; those of a model before it are replaced."""
    if not given:
        return [(REQUEST_ID, f"{topic}/{place[0]}/{place[1]}".encode()), *own]
    kept = [header for header in given if header[0] not in _OURS]
    if all(name != REQUEST_ID for name, _ in kept):
        kept.append((REQUEST_ID, f"{topic}/{place[0]}/{place[1]}".encode()))
    return [*kept, *own]


def _request_ids(details: Sequence[Detail], topic: str, places: NDArray[np.int64]) -> list[bytes]:
    return [
        next((value for name, value in detail.headers if name == REQUEST_ID), None)
        or f"{topic}/{partition}/{offset}".encode()
        for detail, (partition, offset) in zip(details, places.tolist(), strict=True)
    ]


def _times_ms(details: Sequence[Detail]) -> NDArray[np.int64]:
    return np.array([detail.timestamp_ms for detail in details], np.int64)


__all__ = ["REQUEST_ID", "SERVED", "SHADOW", "AvroOutputs", "JsonOutputs", "to_json"]
