"""What is saved of a step as tables, one row for whatever has a key: for `state`.

A step saves users, values by key (`ByKey`, `KeyedValues`), rows (`KeyedRows`, and what is made of
them), or several of these packed as parts. Other tables are known by a column `key`.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from streamrec.connectors.state_files import MANIFEST, read_manifest, read_newest
from streamrec.dataflows.engine.sealing import folder_of
from streamrec.dataflows.job.packed import is_packed, unpack
from streamrec.dataflows.steps.timed_rows import KINDS
from streamrec.models.keyed.columns import WordColumns
from streamrec.models.keyed.rows import NEVER_MS
from streamrec.program.shared import CommandError
from streamrec.schemas.columns import strings
from streamrec.schemas.hashing import hash128

ALL = ""  # the part of a step that saves one table
_ROW = ("id", "hash_high", "hash_low", "due_ms", "gone")  # columns of every table of rows
_HIDDEN = ("hash_high", "hash_low", "order_0", "order_1", "order_2", "order_3", "gone")
_LATEST_MS = 253_402_300_799_999  # the last time that can be written as a date


class ShardState(NamedTuple):
    """The newest that is saved of a shard."""

    name: str
    parts: dict[str, pa.Table]  # by name
    facts: Mapping[str, Any]


def step_of(folder: Path, step: str | None) -> Path:
    """The folder of a step below that of state; of the only one where none is named. Raises
    CommandError."""
    found = sorted({path.parent.parent for path in folder.glob(f"*/*/{MANIFEST}")})
    names = ", ".join(path.name for path in found)
    if step is None and len(found) > 1:
        raise CommandError(f"expected --step with one of {names}, got none")
    if not found:
        raise CommandError(f"expected saved state in {folder}, got none yet")
    if step is None:
        return found[0]
    chosen = folder / folder_of(step)
    if chosen not in found:
        raise CommandError(f"--step expected one of {names}, got {step!r}")
    return chosen


def shards_of(step: Path) -> Iterator[ShardState]:
    """Each shard of a step. Raises StateFileError."""
    for shard in sorted(path for path in step.iterdir() if path.is_dir()):
        tables = read_newest(shard)
        reference = read_manifest(shard)
        if not tables or reference is None:
            continue
        parts = {ALL: tables}
        if is_packed(tables[0]):
            names = sorted({name for table in tables for name in table["part"].to_pylist()})
            parts = {name: unpack(tables, name) for name in names}
        found = {part: _newest(step.name, part, each) for part, each in parts.items()}
        yield ShardState(shard.name, found, reference.facts)


def is_of_users(state: ShardState) -> bool:
    return ALL in state.parts and _key_of(state.parts[ALL]) == "user_id"


def of_key(state: ShardState, key: str) -> dict[str, Any]:
    """What is saved of a key, for a person to read; empty: nothing is."""
    found: dict[str, Any] = {}
    for part, table in state.parts.items():
        rows = _rows_of(table, key)
        if not len(rows):
            continue
        plain = [_readable(row, state.facts) for row in rows.to_pylist()]
        if part == ALL and len(plain) == 1:
            return plain[0]
        is_value = table.column_names == ["key", "value"]
        found[part or "rows"] = plain[0]["value"] if is_value else plain
    return found


def _newest(step: str, part: str, tables: Sequence[pa.Table]) -> pa.Table:
    """One table of what several files hold, oldest first: of what stands in several the last."""
    try:
        table = pa.concat_tables(tables)
    except pa.ArrowInvalid as error:
        what = f"step {step!r}" + (f", part {part!r}" if part else "")
        raise CommandError(f"{what}: expected one set of columns, got others: {error}") from None
    if set(_ROW) <= set(table.column_names):
        table = table.take(_last_of(table["id"].to_pylist()))
        return table.filter(pc.invert(table["gone"]))
    key = _key_of(table)
    if key is None:
        what = f"step {step!r}" + (f", part {part!r}" if part else "")
        raise CommandError(
            f"{what}: expected users, rows, or a column key, got {', '.join(table.column_names)}"
        )
    table = table.take(_last_of(table[key].to_pylist()))
    return table.filter(table["value"].is_valid()) if "value" in table.column_names else table


def _key_of(table: pa.Table) -> str | None:
    return next((name for name in ("user_id", "key") if name in table.column_names), None)


def _last_of(ids: list[Any]) -> pa.Array:
    last = {each: row for row, each in enumerate(ids)}
    return pa.array(sorted(last.values()), pa.int64())


def _rows_of(table: pa.Table, key: str) -> pa.Table:
    if set(_ROW) <= set(table.column_names):
        low, high = hash128(strings([key]))[0].tolist()
        is_own = pc.and_(pc.equal(table["hash_high"], high), pc.equal(table["hash_low"], low))
        return table.filter(is_own)
    column = table[_key_of(table)]
    is_bytes = pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type)
    return table.filter(pc.equal(column, key.encode() if is_bytes else key))


def _readable(row: dict[str, Any], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Times as ISO 8601, bytes as text where they are, numbers by their types."""
    is_row = set(_ROW) <= row.keys()
    found = {}
    for name, value in row.items():
        if is_row and name in _HIDDEN:
            continue
        plain, dtype = _typed(name) if is_row else (name, None)
        if dtype is not None:
            columns = WordColumns({plain: dtype})
            words: NDArray[np.int64] = np.array([[value]], np.int64)
            value = columns.unpack(words)[plain][0].item()
        found[plain] = _plain(plain, value)
    topics = facts.get("topics")
    if is_row and isinstance(topics, list) and {"what", "topic"} <= row.keys():
        found["topic"] = topics[row["topic"]]
        if row["what"] < len(KINDS):
            found["what"] = KINDS[row["what"]]
    if not is_row and "key" in row and isinstance(row.get("value"), str):
        with suppress(ValueError):
            found["value"] = json.loads(row["value"])
    return found


def _typed(name: str) -> tuple[str, np.dtype[np.generic] | None]:
    """A column of a `KeyedTable` has its type behind its name."""
    plain, dot, kind = name.rpartition(".")
    if dot:
        with suppress(TypeError):
            return plain, np.dtype(kind)
    return name, None


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return f"0x{value.hex()}"
    if name.endswith("_ms") and isinstance(value, int):
        if value in (NEVER_MS, -NEVER_MS):
            return None
        if 0 <= value <= _LATEST_MS:
            return datetime.fromtimestamp(value / 1000, UTC).isoformat()
    if isinstance(value, list):
        return [_plain("", each) for each in value]
    return value


__all__ = ["ALL", "ShardState", "is_of_users", "of_key", "shards_of", "step_of"]
