"""What the text in a file's columns means: times, prices, event types."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from streamrec.connectors.click_files.formats import Cells
from streamrec.connectors.click_files.rejecting import Checks
from streamrec.schemas.timestamps import iso_ms

EVENT_TYPES = ("view", "cart", "favorite", "purchase", "other")
# What other shops call them; --map adds to these.
EVENT_TYPE_NAMES: dict[str, str] = {
    "view": "view",
    "pv": "view",
    "click": "view",
    "detail": "view",
    "impression": "other",
    "cart": "cart",
    "addtocart": "cart",
    "add_to_cart": "cart",
    "add": "cart",
    "favorite": "favorite",
    "favourite": "favorite",
    "fav": "favorite",
    "like": "favorite",
    "wishlist": "favorite",
    "purchase": "purchase",
    "buy": "purchase",
    "order": "purchase",
    "transaction": "purchase",
    "other": "other",
}
# The unit of a number that is a time, by its size: 1e11 seconds are the year 5138, 1e11
# milliseconds March 1973, and so on.
_UNITS_PER_MS = {"s": 1e-3, "ms": 1.0, "us": 1e3, "ns": 1e6}
_UNIT_LIMITS = (("s", 1e11), ("ms", 1e14), ("us", 1e17), ("ns", np.inf))


@dataclass(frozen=True, slots=True)
class Meaning:
    """How a column's values are meant, where they do not say."""

    time_unit: Literal["s", "ms", "us", "ns"] | None = None  # None: by the name, or the size
    price_scale: float | None = None  # to cents; None: 1 for a column named ...cents, else 100
    event_types: Mapping[str, str] = field(default_factory=dict)  # beside EVENT_TYPE_NAMES


def times_ms(cells: Cells, name: str, meaning: Meaning, checks: Checks) -> NDArray[np.int64]:
    column = cells.columns[name]
    numbers = _numbers(column)
    is_number = ~np.isnan(numbers)
    times = numbers.copy()
    if is_number.any():
        unit = meaning.time_unit or _unit_of(name, float(np.median(numbers[is_number])))
        times /= _UNITS_PER_MS[unit]
    for row in np.flatnonzero(~is_number).tolist():
        times[row] = _iso_ms(column[row].as_py())
    bad = ~((times > 0) & (times < 2**62))
    checks.reject(
        bad,
        lambda row: (
            f"{name} expected a time after 1970 (a number or ISO 8601), "
            f"got {_shown(column[row].as_py())}"
        ),
    )
    return np.rint(np.where(bad, 0.0, times)).astype(np.int64)


def _unit_of(name: str, typical: float) -> str:
    for unit in _UNITS_PER_MS:
        if name.lower().endswith("_" + unit):
            return unit
    return next(unit for unit, limit in _UNIT_LIMITS if abs(typical) < limit)


def _iso_ms(content: bytes | None) -> float:
    try:
        return float(iso_ms((content or b"").decode().strip()))
    except ValueError:  # of which bytes that are no UTF-8 are one kind
        return np.nan


def prices(
    cells: Cells, name: str | None, meaning: Meaning, checks: Checks
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    n = len(cells.rows)
    if name is None:
        return np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.bool_)
    column = cells.columns[name]
    scale = meaning.price_scale
    if scale is None:
        scale = 1.0 if name.lower().endswith("cents") else 100.0
    numbers = _numbers(column) * scale
    lengths = pc.fill_null(pc.binary_length(column), 0).to_numpy(zero_copy_only=False)
    given = lengths > 0
    bad = given & ~((numbers >= 0) & (numbers < 2**62))
    checks.reject(
        bad, lambda row: f"{name} expected a price >= 0, got {_shown(column[row].as_py())}"
    )
    return np.rint(np.where(given & ~bad, numbers, 0.0)).astype(np.int64), given


def event_types(
    cells: Cells, name: str | None, meaning: Meaning, good: NDArray[np.bool_]
) -> tuple[NDArray[np.int32], dict[str, int]]:
    n = len(cells.rows)
    if name is None:
        return np.zeros(n, dtype=np.int32), {}
    codes = cells.columns[name].dictionary_encode("encode")
    indices = codes.indices.to_numpy(zero_copy_only=False)
    texts = [(t or b"").decode(errors="replace").strip() for t in codes.dictionary.to_pylist()]
    known = {**EVENT_TYPE_NAMES, **meaning.event_types}
    found = [known.get(text, known.get(text.lower())) for text in texts]
    by_code = np.array([EVENT_TYPES.index(symbol or "other") for symbol in found], dtype=np.int32)
    counts = np.bincount(indices[good], minlength=len(texts)).tolist()
    unknown = {
        text: count
        for text, symbol, count in zip(texts, found, counts, strict=True)
        if symbol is None and count
    }
    return by_code[indices], unknown


def _numbers(column: "pa.LargeBinaryArray") -> NDArray[np.float64]:
    """The cells that are decimal numbers; NaN for all others."""
    latin = column.cast(pa.large_string(), safe=False) if len(column) else column
    is_number = pc.match_substring_regex(column, r"^\s*-?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*$")
    numbers = pc.if_else(is_number, pc.utf8_trim_whitespace(latin), None).cast(pa.float64())
    return np.asarray(pc.fill_null(numbers, np.nan).to_numpy(zero_copy_only=False))


def _shown(content: bytes | None) -> str:
    return "nothing" if not content else repr(content[:40].decode(errors="backslashreplace"))
