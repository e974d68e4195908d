"""Messages between the two processes: a header of a fixed size, and a pickle.

The process with the model may send only plain values and what the contract has: whatever else an
answer holds is made plain (a `numpy.float64` is a float) or is that record's own fault, and never
keeps its neighbours from the other side.
"""

import pickle
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, NamedTuple

from streamrec.models.serving.contract import Answer, Fault, Input, Metadata, Raw
from streamrec.schemas.reasons import Reason

_HEADER = struct.Struct("<QQQQ")
HEADER_BYTES = _HEADER.size
_PROTOCOL = 5


class Header(NamedTuple):
    """Before each message; a question and its answer have the same number."""

    number: int  # of the batch, from 1; 0: about the process itself
    length: int  # of the pickle, in bytes
    took_us: int  # of the model, in an answer
    resident: int  # bytes of memory after an answer, 0: not known

    def packed(self) -> bytes:
        return _HEADER.pack(*self)

    @classmethod
    def unpacked(cls, data: bytes | bytearray | memoryview) -> "Header":
        return cls(*_HEADER.unpack_from(data))


@dataclass(frozen=True, slots=True)
class FirstMessage:
    """The first message: read before the path is set, so it holds nothing of the user's."""

    path: tuple[str, ...]
    folder: str | None
    memory_bytes: int | None
    plan: bytes  # a pickled Plan


@dataclass(frozen=True, slots=True)
class Warm:
    """The process has loaded and warmed its model."""

    metadata: Metadata
    one_by_one: bool  # each record is a call of its own, and the process notes which it is at


@dataclass(frozen=True, slots=True)
class Unmade:
    """The model cannot be had."""

    message: str


_OURS = frozenset({Fault, Raw, Reason, Metadata, FirstMessage, Warm, Unmade})
_PLAIN = frozenset({str, int, float, bytes, list, tuple, dict})
_MADE_PLAIN: tuple[tuple[type, Callable[[Any], Any]], ...] = (
    # Conversions of the base class: a subclass may have overridden its own.
    (str, str.__str__),
    (int, int.__int__),
    (float, float.__float__),
    (Mapping, dict),
    (list, list),
    (tuple, tuple),
)


class _Pickler(pickle.Pickler):
    """Called back only for what is not exactly a built-in type, so plain answers cost nothing."""

    def reducer_override(self, obj: Any) -> Any:
        if type(obj) in _OURS or (isinstance(obj, type) and obj in _OURS | _PLAIN):
            return NotImplemented
        for base, plain in _MADE_PLAIN:
            if isinstance(obj, base):
                return (dict if base is Mapping else base, (plain(obj),))
        raise pickle.PicklingError(f"got {type(obj).__module__}.{type(obj).__qualname__}")


def plainly_packed(value: Any) -> bytes:
    """Raises what an object of the user's raises, PicklingError, RecursionError."""
    out = BytesIO()
    _Pickler(out, _PROTOCOL).dump(value)
    return out.getvalue()


def packed_answers(answers: Sequence[Answer | Fault]) -> bytes:
    """A list; what cannot be packed is a Fault in its place."""
    try:
        return plainly_packed(answers)
    except Exception:  # noqa: BLE001  # a user's object, asked how it is pickled
        return plainly_packed([_packable(answer) for answer in answers])


def _packable(answer: Answer | Fault) -> Answer | Fault:
    try:
        plainly_packed(answer)
    except Exception as error:  # noqa: BLE001  # as above
        return Fault(
            Reason.OUTPUT_INVALID,
            "answer expected plain values (dict, list, str, int, float, bool, None), "
            f"{error if isinstance(error, pickle.PicklingError) else repr(error)}",
        )
    return answer


def packed_inputs(inputs: Sequence[Input]) -> bytes:
    """Raises RecursionError where one is nested too deeply."""
    return pickle.dumps(inputs, _PROTOCOL)


def unpacked(data: bytes | bytearray | memoryview) -> Any:
    # Both ends are ours and run as the same user; a model could do here what it can do anyway.
    return pickle.loads(data)


__all__ = [
    "HEADER_BYTES",
    "FirstMessage",
    "Header",
    "Unmade",
    "Warm",
    "packed_answers",
    "packed_inputs",
    "plainly_packed",
    "unpacked",
]
