"""Plain values by key, which a shard keeps until they are removed."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa


class KeyedValues:
    """A dict from keys to what JSON can hold, saved in proportion to what changed.

    Nothing is dropped by itself: what a timer's step no longer needs it removes. A value that was
    got and altered in place must be put again. After a restart a tuple is a list, and a dict has
    strings for keys. Some 300 bytes a key, and the value.
    """

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}
        self._changes: set[str] = set()

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[str]:
        """The keys, sorted: in the same order in every run."""
        return iter(sorted(self._values))

    def get(self, key: str, default: Any = None) -> Any:
        return self._values.get(key, default)

    def put(self, key: str, value: Any) -> None:
        """Raises TypeError for a key that is no string."""
        if type(key) is not str:
            raise TypeError(f"key expected a string, got {key!r}")
        self._values[key] = value
        self._changes.add(key)

    def remove(self, key: str) -> None:
        """Forget a key, if it is there."""
        if self._values.pop(key, self) is not self:
            self._changes.add(key)

    def changed(self, whole: bool) -> pa.Table:
        """One row a key, sorted: its value as JSON, null where it is gone. Raises TypeError for
        what JSON cannot hold."""
        keys = sorted(self._values if whole else self._changes)
        self._changes.clear()
        held = self._values
        values = [plain_value(key, held[key]) if key in held else None for key in keys]
        return pa.table(
            {"key": pa.array(keys, pa.string()), "value": pa.array(values, pa.string())}
        )

    def restore(self, tables: Sequence[pa.Table]) -> None:
        """Become what said these tables, oldest first."""
        self._values.clear()
        self._changes.clear()
        for table in tables:
            for key, value in zip(*(table[c].to_pylist() for c in ("key", "value")), strict=True):
                if value is None:
                    self._values.pop(key, None)
                else:
                    self._values[key] = json.loads(value)


def plain_value(key: str, value: Any) -> str:
    """The value of a key, as JSON. Raises TypeError for what JSON cannot hold."""
    try:
        return json.dumps(value)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"value of key {key!r} expected numbers, strings, booleans, None, lists and dicts of "
            f"these, got {value!r}: {error}"
        ) from error


__all__ = ["KeyedValues", "plain_value"]
