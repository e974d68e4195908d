"""Click logs in files: CSV, JSON lines or Parquet, whatever they call their columns, as clicks.

A file is read whole into Arrow columns of text, so that a row that makes no sense can be named by
its number and left out while the rest goes on.
"""

import csv
import gzip
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray

from streamrec.schemas.columns import Bytes, Columns, Numbers

Format = Literal["csv", "jsonl", "parquet"]

ID_BYTES_MAX = 256
_FORMATS: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".dat": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}
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


class ClickLogError(Exception):
    """A file cannot be read as clicks at all; the message says what was expected and found."""


class Rejected(NamedTuple):
    """A row that is no click."""

    row: int  # line of a text file, the first being 1; row of a Parquet file, the first being 1
    message: str


@dataclass(frozen=True, slots=True)
class Names:
    """Which column holds what; None: none does."""

    user: str | None = None
    item: str | None = None
    time: str | None = None
    type: str | None = None
    price: str | None = None
    category: str | None = None
    session: str | None = None

    def __str__(self) -> str:
        pairs = ((f.name, getattr(self, f.name)) for f in fields(self))
        return ", ".join(f"{role} from {name}" for role, name in pairs if name is not None)


# Common names, in lower case and without separators; the first that a file has is taken.
_COMMON_NAMES: dict[str, tuple[str, ...]] = {
    "user": ("userid", "user", "visitorid", "customerid", "uid", "memberid", "clientid"),
    "item": ("itemid", "item", "productid", "product", "articleid", "sku", "contentid", "iid"),
    "time": ("timestamp", "timestamps", "timestampms", "time", "eventtime", "ts", "datetime",
             "unixtime", "eventdate", "date"),
    "type": ("eventtype", "event", "behavior", "behaviour", "behaviortype", "action", "type"),
    "price": ("price", "pricecents"),
    "category": ("categoryid", "category", "categorycode", "cat", "catid"),
    "session": ("sessionid", "session", "usersession", "sid"),
}  # fmt: skip


def name_columns(found: Sequence[str], given: Names) -> Names:
    """Fill in what was not given from common names. A log of sessions alone has each session for a
    user of its own. Raises ClickLogError."""
    plain = {re.sub(r"[^a-z0-9]", "", name.lower()): name for name in reversed(found)}
    chosen: dict[str, str | None] = {}
    for role, common in _COMMON_NAMES.items():
        name = getattr(given, role)
        if name is not None and name not in found:
            raise ClickLogError(f"--{role} expected one of the columns {list(found)}, got {name!r}")
        chosen[role] = name or next((plain[c] for c in common if c in plain), None)
    if chosen["user"] is None:
        chosen["user"] = chosen["session"]
    for role in ("user", "item", "time"):
        if chosen[role] is None:
            hint = "--user or --session" if role == "user" else f"--{role}"
            raise ClickLogError(
                f"expected a column for the {role}, got columns {list(found)}; name it by {hint}, "
                "or the columns of a file without a header by --columns"
            )
    return Names(**chosen)


@dataclass(frozen=True, slots=True)
class FileForm:
    """How a file is laid out, where its name does not say."""

    format: Format | None = None  # None: by the file's ending
    delimiter: str | None = None  # None: tab for .tsv, else the likeliest of , ; tab |
    columns: Sequence[str] | None = None  # names; None: the first line holds them


@dataclass(frozen=True, slots=True)
class Meaning:
    """How a column's values are meant, where they do not say."""

    time_unit: Literal["s", "ms", "us", "ns"] | None = None  # None: by the name, or the size
    price_scale: float | None = None  # to cents; None: 1 for a column named ...cents, else 100
    event_types: Mapping[str, str] = field(default_factory=dict)  # beside EVENT_TYPE_NAMES


@dataclass(slots=True)
class Table:
    """A file as it stands: columns of bytes, not yet understood."""

    columns: dict[str, "pa.LargeBinaryArray"]
    rows: NDArray[np.int64]  # (n,) the number of each row in the file, for messages
    rejected: list[Rejected] = field(default_factory=list)


def read_names(path: Path, form: FileForm) -> list[str]:
    """The names of a file's columns. Raises ClickLogError."""
    if form.columns is not None:
        return list(form.columns)
    match format_of(path, form):
        case "parquet":
            return list(pa.parquet.read_schema(path).names)
        case "csv":
            with _open(path) as file:
                line = file.readline().decode("utf-8-sig", errors="replace")
            return next(csv.reader([line], delimiter=_delimiter(path, form, line)), [])
        case "jsonl":
            # Of the first lines, because a record need not have every field.
            with _open(path) as file:
                records = [_json_object(line) for line in islice(file, 100)]
            found = dict.fromkeys(name for r in records if isinstance(r, dict) for name in r)
            return list(found)


def format_of(path: Path, form: FileForm) -> Format:
    if form.format is not None:
        return form.format
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    if not suffixes or suffixes[-1] not in _FORMATS:
        raise ClickLogError(
            f"{path.name} expected an ending of {', '.join(_FORMATS)} (and .gz); "
            "say what it is by --format"
        )
    return _FORMATS[suffixes[-1]]


def read_table(path: Path, form: FileForm, wanted: Sequence[str]) -> Table:
    """Read the wanted columns. Raises ClickLogError."""
    match format_of(path, form):
        case "parquet":
            return _read_parquet(path, wanted)
        case "csv":
            return _read_csv(path, form, wanted)
        case "jsonl":
            return _read_jsonl(path, wanted)


def _open(path: Path) -> io.BufferedIOBase:
    return gzip.open(path, "rb") if path.suffix.lower() == ".gz" else path.open("rb")


def _delimiter(path: Path, form: FileForm, first_line: str) -> str:
    if form.delimiter is not None:
        return form.delimiter
    if ".tsv" in (suffix.lower() for suffix in path.suffixes):
        return "\t"
    return max(",;\t|", key=first_line.count)


def _read_csv(path: Path, form: FileForm, wanted: Sequence[str]) -> Table:
    rejected: list[Rejected] = []

    def reject(row: "pa.csv.InvalidRow") -> str:
        message = f"expected {row.expected_columns} columns, got {row.actual_columns}"
        rejected.append(Rejected(row.number, f"{message}: {row.text[:60]!r}"))
        return "skip"

    with _open(path) as file:
        first_line = file.readline().decode("utf-8-sig", errors="replace")
    names = read_names(path, form)
    # One thread, because only then does Arrow know the number of a row that it rejects; bytes and
    # not text, because one row that is not UTF-8 would otherwise fail the file.
    with pa.input_stream(str(path), compression="detect") as stream:
        table = pa.csv.read_csv(
            stream,
            read_options=pa.csv.ReadOptions(
                use_threads=False, column_names=form.columns, encoding="utf8"
            ),
            parse_options=pa.csv.ParseOptions(
                delimiter=_delimiter(path, form, first_line),
                invalid_row_handler=reject,
                ignore_empty_lines=False,
            ),
            convert_options=pa.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.large_binary()),
                include_columns=list(dict.fromkeys(wanted)),
                check_utf8=False,
            ),
        )
    first_row = 1 if form.columns is not None else 2
    lines = np.arange(first_row, first_row + len(table) + len(rejected))
    lines = np.setdiff1d(lines, [row for row, _ in rejected], assume_unique=True)
    return Table({name: _as_binary(table[name]) for name in wanted}, lines, rejected)


def _read_parquet(path: Path, wanted: Sequence[str]) -> Table:
    table = pa.parquet.read_table(path, columns=list(dict.fromkeys(wanted)))
    return Table(
        {name: _as_binary(table[name]) for name in wanted}, np.arange(1, len(table) + 1), []
    )


def _read_jsonl(path: Path, wanted: Sequence[str]) -> Table:
    rejected, rows = [], []
    cells: dict[str, list[bytes | None]] = {name: [] for name in wanted}
    with _open(path) as file:
        for number, line in enumerate(file, start=1):
            record = _json_object(line)
            if isinstance(record, str):
                rejected.append(Rejected(number, record))
                continue
            rows.append(number)
            for name, column in cells.items():
                value = record.get(name)
                column.append(None if value is None else str(value).encode(errors="replace"))
    columns = {name: pa.array(column, pa.large_binary()) for name, column in cells.items()}
    return Table(columns, np.array(rows, dtype=np.int64), rejected)


def _json_object(line: bytes) -> dict[str, object] | str:
    """The object, or what is wrong with the line."""
    try:
        record = json.loads(line)
    except ValueError as error:
        return f"expected a JSON object, got {line[:60]!r}: {error}"
    return record if isinstance(record, dict) else f"expected a JSON object, got {line[:60]!r}"


def _as_binary(column: "pa.ChunkedArray") -> "pa.LargeBinaryArray":
    kind = column.type
    if pa.types.is_timestamp(kind):
        # As the number of milliseconds; a zone only says how to show it.
        column = pc.cast(column, pa.timestamp("ms", kind.tz), safe=False).cast(pa.int64())
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
    if not pa.types.is_large_binary(column.type):
        column = column.cast(pa.large_string()).cast(pa.large_binary())
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)


@dataclass(frozen=True, slots=True)
class Clicks:
    """A file's clicks, by the names of schemas/clicks.avsc, in the order in which to send them."""

    columns: dict[str, Bytes | Numbers]
    users: "pa.LargeBinaryArray"
    rejected: list[Rejected]  # by row
    unknown_types: dict[str, int]  # event types taken as other, and how many rows have each

    def __len__(self) -> int:
        return len(self.users)


def load(
    path: Path, form: FileForm, given: Names, meaning: Meaning, by_time: bool
) -> tuple[Names, Clicks]:
    """Read a file as clicks, and say which column was taken for what. Raises ClickLogError."""
    try:
        names = name_columns(read_names(path, form), given)
        wanted = [name for f in fields(names) if (name := getattr(names, f.name)) is not None]
        table = read_table(path, form, wanted)
    except (OSError, EOFError, pa.ArrowException) as error:
        raise ClickLogError(f"{path}: {error}") from error
    return names, understand(table, names, meaning, by_time)


def understand(table: Table, names: Names, meaning: Meaning, by_time: bool) -> Clicks:
    """Turn text into clicks; rows that are none are rejected with the reason. By time, or in the
    order of the file."""
    assert names.user is not None and names.item is not None and names.time is not None
    checks = _Checks(table.rows)
    users, items = table.columns[names.user], table.columns[names.item]
    checks.require_id(names.user, users)
    checks.require_id(names.item, items)
    times_ms = _times_ms(table, names.time, meaning, checks)
    prices, priced = _prices(table, names.price, meaning, checks)
    types, unknown = _event_types(table, names.type, meaning, checks.good)

    good = np.flatnonzero(checks.good)
    if by_time:
        good = good[np.argsort(times_ms[good], kind="stable")]
    indices = pa.array(good)
    users = users.take(indices)
    return Clicks(
        {
            "user_id": _bytes_column(users),
            "item_id": _bytes_column(items.take(indices)),
            "event_type": Numbers(types[good]),
            "timestamp": Numbers(times_ms[good]),
            "price_cents": Numbers(prices[good], priced[good]),
            "category_id": _optional_column(table, names.category, indices),
            "session_id": _optional_column(table, names.session, indices),
        },
        users,
        sorted(table.rejected + checks.rejected),
        unknown,
    )


class _Checks:
    """Which rows are still good, and why the others are not; a row is rejected once."""

    def __init__(self, rows: NDArray[np.int64]) -> None:
        self._rows = rows
        self.good = np.ones(len(rows), dtype=np.bool_)
        self.rejected: list[Rejected] = []

    def reject(self, bad: NDArray[np.bool_], message: Callable[[int], str]) -> None:
        for row in np.flatnonzero(bad & self.good).tolist():
            self.rejected.append(Rejected(int(self._rows[row]), message(row)))
        self.good &= ~bad

    def require_id(self, name: str, column: "pa.LargeBinaryArray") -> None:
        lengths = pc.fill_null(pc.binary_length(column), 0).to_numpy(zero_copy_only=False)
        self.reject(
            (lengths < 1) | (lengths > ID_BYTES_MAX),
            lambda row: f"{name} expected 1 to {ID_BYTES_MAX} bytes, got {lengths[row]}",
        )
        try:
            column.cast(pa.large_string())
        except pa.ArrowInvalid:
            bad = np.fromiter((not _is_utf8(c.as_py()) for c in column), np.bool_, len(column))
            self.reject(bad, lambda row: f"{name} expected UTF-8, got {column[row].as_py()!r}")


def _is_utf8(content: bytes | None) -> bool:
    try:
        (content or b"").decode()
    except UnicodeDecodeError:
        return False
    return True


def _numbers(column: "pa.LargeBinaryArray") -> NDArray[np.float64]:
    """The cells that are decimal numbers; NaN for all others."""
    latin = column.cast(pa.large_string(), safe=False) if len(column) else column
    is_number = pc.match_substring_regex(column, r"^\s*-?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*$")
    numbers = pc.if_else(is_number, pc.utf8_trim_whitespace(latin), None).cast(pa.float64())
    return np.asarray(pc.fill_null(numbers, np.nan).to_numpy(zero_copy_only=False))


def _times_ms(table: Table, name: str, meaning: Meaning, checks: _Checks) -> NDArray[np.int64]:
    column = table.columns[name]
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
        moment = datetime.fromisoformat((content or b"").decode().strip())
    except (ValueError, UnicodeDecodeError):
        return np.nan
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.timestamp() * 1000


def _prices(
    table: Table, name: str | None, meaning: Meaning, checks: _Checks
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    n = len(table.rows)
    if name is None:
        return np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.bool_)
    column = table.columns[name]
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


def _event_types(
    table: Table, name: str | None, meaning: Meaning, good: NDArray[np.bool_]
) -> tuple[NDArray[np.int32], dict[str, int]]:
    n = len(table.rows)
    if name is None:
        return np.zeros(n, dtype=np.int32), {}
    codes = table.columns[name].dictionary_encode("encode")
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


def _optional_column(table: Table, name: str | None, indices: "pa.Array") -> Bytes:
    if name is None:
        nothing = np.zeros(len(indices), dtype=np.int64)
        return Bytes(np.empty(0, np.uint8), nothing, nothing, np.zeros(len(indices), np.bool_))
    column = table.columns[name].take(indices)
    column = pc.if_else(pc.equal(pc.binary_length(column), 0), None, column)
    return _bytes_column(column)


def _bytes_column(column: "pa.LargeBinaryArray") -> Bytes:
    """The same memory, as spans."""
    _, offsets_buffer, data_buffer = column.buffers()
    offsets = np.frombuffer(offsets_buffer, np.int64)[
        column.offset : column.offset + len(column) + 1
    ]
    data = np.frombuffer(data_buffer or b"", np.uint8)
    lengths = np.diff(offsets)
    if column.null_count == 0:
        return Bytes(data, offsets[:-1], lengths, np.ones(len(column), dtype=np.bool_))
    return Bytes(data, offsets[:-1], lengths, column.is_valid().to_numpy(zero_copy_only=False))


def _shown(content: bytes | None) -> str:
    return "nothing" if not content else repr(content[:40].decode(errors="backslashreplace"))


def chunks(
    columns: Mapping[str, Bytes | Numbers], rows: int, size: int
) -> Iterator[tuple[slice, Columns]]:
    """Consecutive slices of columns."""
    for start in range(0, rows, size):
        part = slice(start, min(start + size, rows))
        yield part, {name: _part(column, part) for name, column in columns.items()}


def _part(column: Bytes | Numbers, part: slice) -> Bytes | Numbers:
    valid = None if column.valid is None else column.valid[part]
    if isinstance(column, Bytes):
        return Bytes(column.data, column.starts[part], column.lengths[part], valid)
    return Numbers(column.values[part], valid)
