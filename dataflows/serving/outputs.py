"""What is written of a model's answers: JSON as it is, or Avro with the record `served`."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamrec.connectors.log import Detail, Headers
from streamrec.connectors.per_thread import PerThread
from streamrec.dataflows.job.answers import IDS, OUTPUT_HEADER, SOURCE_HEADER
from streamrec.dataflows.job.encoding import Records
from streamrec.dataflows.serving.inputs import ModelAnswers
from streamrec.dataflows.serving.request_ids import REQUEST_ID
from streamrec.schemas.columns import Bytes, Columns, strings
from streamrec.schemas.encoder import Encoder
from streamrec.schemas.header_ids import VALUE_SCHEMA_ID
from streamrec.schemas.place_texts import place_texts
from streamrec.schemas.served import ServedBy, served_alone, served_columns

MODEL = "streamrec-model"
TOOK_US = "streamrec-took-us"
EXPERIMENT = "streamrec-experiment"
VARIANT = "streamrec-variant"
PROPENSITY = "streamrec-propensity"
MODE = "streamrec-mode"
SERVED, SHADOW = "served", "shadow"
# And what says how the input was written.
_OURS = IDS | {MODEL, TOOK_US, EXPERIMENT, VARIANT, PROPENSITY, MODE, VALUE_SCHEMA_ID}


def _no_json(value: object) -> object:
    raise TypeError(f"answer expected what JSON can say, got {value!r}")


# `json.dumps` makes an encoder at each call, which takes as long as a small answer does. Answers
# are plain values, without circles: nothing is looked for.
_chunks: Any = json.encoder.c_make_encoder(  # type: ignore[attr-defined]  # not in the stubs
    None, _no_json, json.encoder.encode_basestring, None, ":", ",", False, False, False
)


def to_json(value: Any) -> str:
    """JSON, small."""
    return "".join(_chunks(value, 0))


def _values(answers: Sequence[Any]) -> list[bytes]:
    """Each as JSON; half a surrogate pair, which UTF-8 cannot say, as its escape."""
    return [to_json(answer).encode(errors="backslashreplace") for answer in answers]


@dataclass(frozen=True, slots=True)
class JsonOutputs:
    """The records of a pipeline's outputs as JSON: exactly what the model said.

    Key, headers and time of an input are its output's. On top of them stand the input's place, as
    `job.answers` has it, which is the id of the request too where there is no other, and who
    answered. Each header costs half a microsecond, so there are no more than need be.
    """

    by: Sequence[ServedBy]  # of each variant
    kind: str = ""  # of the output, where it is not the one that is served

    def __call__(self, items: list[ModelAnswers]) -> Iterator[Records]:
        for answered in items:
            assert answered.answers is not None
            inputs, rows = answered.inputs, answered.rows
            details = inputs.details(rows)
            places = [
                f"{inputs.topic}/{partition}/{offset}".encode()
                for partition, offset in inputs.places(rows).tolist()
            ]
            yield Records(
                {},
                inputs,
                rows,
                kinds=self.kind,
                keys=[detail.key for detail in details],
                values=_values(answered.answers),
                headers=[
                    _joined(detail.headers, place, own)
                    for detail, place, own in zip(details, places, self._own(answered), strict=True)
                ],
                tells_itself=True,
                times_ms=_times_ms(details),
            )

    def _own(self, answered: ModelAnswers) -> list[Headers]:
        """Of each answer, who gave it."""
        took = [(TOOK_US, b"%d" % us) for us in answered.took_us.tolist()]
        if answered.assigned is None:
            by = self._said(self.by[answered.served])
            return [[*by, each] for each in took]
        said = [self._said(by) for by in self.by]
        assigned = answered.assigned
        return [
            [*said[which], each, (PROPENSITY, repr(propensity).encode())]
            if propensity == propensity
            else [*said[which], each]
            for each, which, propensity in zip(
                took, assigned.variants.tolist(), assigned.propensities.tolist(), strict=True
            )
        ]

    def _said(self, by: ServedBy) -> Headers:
        said: Headers = [(MODEL, f"{by.model}/{by.version}".encode())]
        if self.kind:
            said.append((OUTPUT_HEADER, f"{self.kind}/0".encode()))
        if by.experiment is not None:
            said += [
                (EXPERIMENT, by.experiment.encode()),
                (VARIANT, (by.variant or "").encode()),
                (MODE, by.mode.encode()),
            ]
        return said


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

    def __call__(self, items: list[ModelAnswers]) -> Iterator[Records]:
        for answered in items:
            yield self._records(answered)

    def _records(self, answered: ModelAnswers) -> Records:
        inputs, rows, assigned = answered.inputs, answered.rows, answered.assigned
        details = inputs.details(rows)
        places = inputs.places(rows)
        served = served_columns(
            self._by if assigned is not None else (self._by[answered.served],),
            _request_ids(details, inputs.topic, places),
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
            headers=[_without_ours(d.headers) for d in details]
            if any(d.headers for d in details)
            else None,
            times_ms=_times_ms(details),
        )

    def _joined(self, answered: ModelAnswers, served: Columns) -> list[bytes]:
        """A record is its fields, one after the other: those of the answer are encoded already."""
        assert answered.answers is not None
        prefix = b"\0" + self._schema_id().to_bytes(4, "big")
        ends = self._encoder().encode(served)
        assert not ends.failures, ends.failures
        return [
            prefix + answer + end for answer, end in zip(answered.answers, ends.values, strict=True)
        ]


def _without_ours(given: Headers) -> Headers:
    """An input's headers, but those of a model before, of which `served` says what is true now."""
    return [pair for pair in given if pair[0] not in _OURS]


def _joined(given: Headers, place: bytes, own: Headers) -> Headers:
    """An input's own headers, then ours; those of a model before it are replaced."""
    source = (SOURCE_HEADER, place)
    if not given:
        return [source, *own]
    kept = [header for header in given if header[0] not in _OURS]
    if len(kept) < len(given):  # an answer of a model before it: the request is the first one's
        before = dict(given)
        if REQUEST_ID not in before and SOURCE_HEADER in before:
            kept.append((REQUEST_ID, before[SOURCE_HEADER]))
    return [*kept, source, *own]


def _request_ids(details: Sequence[Detail], topic: str, places: NDArray[np.int64]) -> Bytes:
    """Those that inputs have, or their places."""
    if not any(detail.headers for detail in details):
        return place_texts(topic, places)
    return strings(
        [
            _as_text(next((value for name, value in detail.headers if name == REQUEST_ID), None))
            or f"{topic}/{partition}/{offset}".encode()
            for detail, (partition, offset) in zip(details, places.tolist(), strict=True)
        ]
    )


def _as_text(content: bytes | None) -> bytes:
    """As UTF-8, which a header need not be, and an Avro string must."""
    return b"" if content is None else content.decode(errors="replace").encode()


def _times_ms(details: Sequence[Detail]) -> NDArray[np.int64]:
    return np.array([detail.timestamp_ms for detail in details], np.int64)


__all__ = ["REQUEST_ID", "SERVED", "SHADOW", "AvroOutputs", "JsonOutputs", "to_json"]
