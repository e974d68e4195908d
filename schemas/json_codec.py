"""JSON to Avro in wire format and back, one record at a time, saying what is wrong with a value.

JSON is plain: a union's value is written without naming its branch, and timestamps are integers in
the unit that the schema says. Bytes are strings of the code points 0 to 255, as in Avro's own JSON
encoding, so that what `receive` prints `send` takes.
"""

import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import fastavro
import fastavro.schema

from streamrec.schemas.header_ids import HEADER_BYTES, SchemaKey, SchemaOf, key_in, name_of
from streamrec.schemas.json_text import parse_record, shown_bytes
from streamrec.schemas.registry import SchemaError

_NO_SCHEMA = (fastavro.schema.SchemaParseException, fastavro.schema.UnknownType)
_INTEGER_BITS = {"int": 32, "long": 64}
_TYPE_NAMES = {"boolean": bool, "string": str, "array": list, "map": dict, "record": dict}


class MisfitError(Exception):
    """A value does not fit its schema; the message says which field, what was expected, and got.
    `field` is the path of it; empty: the value itself, or it is not of a schema."""

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class UnreadableError(Exception):
    """Bytes are not a record in wire format under a schema that the registry knows."""


class JsonEncoder:
    """Encodes JSON values under one registered schema."""

    def __init__(self, schema_json: str, schema_id: int) -> None:
        schema = _without_logical_types(json.loads(schema_json))
        self._named: dict[str, Any] = {}
        self._parsed = fastavro.parse_schema(schema, named_schemas=self._named)
        self._header = b"\0" + schema_id.to_bytes(4, "big")
        parsed: Any = self._parsed
        self._surely = _sure_fits(parsed)
        fields = [] if self._surely is None else parsed["fields"]
        self._needed = [field["name"] for field in fields if "default" not in field]

    def encode(self, value: Any) -> bytes:
        """Raises MisfitError."""
        fitted = value if self._surely_fits(value) else self._fit(self._parsed, value, "")
        out = io.BytesIO()
        out.write(self._header)
        fastavro.schemaless_writer(out, self._parsed, fitted)
        return out.getvalue()

    def _surely_fits(self, value: Any) -> bool:
        """Whether a plain record fits as it is, in a fifth of `_fit`'s time. False says nothing."""
        surely = self._surely
        if surely is None or type(value) is not dict:
            return False
        try:
            for name, each in value.items():
                if not surely[name](each):
                    return False
        except KeyError:
            return False
        return len(value) == len(surely) or all(map(value.__contains__, self._needed))

    def _fit(self, schema: Any, value: Any, path: str) -> Any:
        """The value as fastavro takes it."""
        if isinstance(schema, list):
            return self._fit_union(schema, value, path)
        if isinstance(schema, str) and schema in self._named:
            schema = self._named[schema]
        kind = schema if isinstance(schema, str) else schema["type"]
        if kind == "record":
            return self._fit_record(schema, value, path)
        if kind == "array" and isinstance(value, list):
            return [
                self._fit(schema["items"], item, f"{path}[{i}]") for i, item in enumerate(value)
            ]
        if kind == "map" and isinstance(value, dict):
            for key in value:
                _check_text(key, path, f"a key of {_name(schema)}")
            return {k: self._fit(schema["values"], v, f"{path}[{k!r}]") for k, v in value.items()}
        if kind in ("bytes", "fixed"):
            return _fit_bytes(schema, value, path)
        if not _is_scalar(schema, kind, value):
            raise _misfit(path, f"expected {_name(schema)}, got {value!r}")
        if isinstance(value, str):
            _check_text(value, path, _name(schema))
        return value

    def _fit_union(self, branches: list[Any], value: Any, path: str) -> Any:
        if value is None and "null" in branches:
            return None
        others = [branch for branch in branches if branch != "null"]
        for branch in others:
            try:
                return self._fit(branch, value, path)
            except MisfitError:
                if len(others) == 1 and isinstance(value, dict | list):
                    raise  # it names the field within
        expected = " or ".join(_name(branch) for branch in branches)
        raise _misfit(path, f"expected {expected}, got {value!r}")

    def _fit_record(self, schema: Mapping[str, Any], value: Any, path: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise _misfit(path, f"expected an object ({_name(schema)}), got {value!r}")
        names = [field["name"] for field in schema["fields"]]
        if unknown := [name for name in value if name not in names]:
            raise _misfit(path, f"expected fields {names}, got also {unknown}")
        fitted = {}
        for field in schema["fields"]:
            inner = f"{path}.{field['name']}" if path else field["name"]
            if field["name"] in value:
                fitted[field["name"]] = self._fit(field["type"], value[field["name"]], inner)
            elif "default" not in field:
                raise _misfit(inner, f"expected {_name(field['type'])}, got nothing")
        return fitted


def _sure_fits(schema: Any) -> dict[str, Callable[[Any], bool]] | None:
    """Of a record's fields, what says that a value surely fits; None: it is no record."""
    if not isinstance(schema, dict) or schema["type"] != "record":
        return None
    return {field["name"]: _sure_fit(field["type"]) for field in schema["fields"]}


def _sure_fit(schema: Any) -> Callable[[Any], bool]:
    if isinstance(schema, list) and len(schema) == 2 and "null" in schema:
        inner = _sure_fit(next(each for each in schema if each != "null"))
        return lambda value: value is None or inner(value)
    if isinstance(schema, dict) and schema["type"] == "enum":
        symbols = frozenset(schema["symbols"])
        return lambda value: type(value) is str and value in symbols
    kind = schema["type"] if isinstance(schema, dict) and len(schema) == 1 else schema
    if kind == "string":
        return lambda value: type(value) is str and value.isascii()
    if kind in ("int", "long"):
        half = 1 << (_INTEGER_BITS[kind] - 1)
        return lambda value: type(value) is int and -half <= value < half
    return lambda _: False


class JsonDecoder:
    """Decodes values in wire format, each under the schema that it, or else its header, names."""

    def __init__(self, schema_of: SchemaOf) -> None:
        self._schema_of = schema_of
        self._parsed: dict[SchemaKey, Any] = {}

    def decode(self, value: bytes, headers: Sequence[tuple[str, bytes | None]] = ()) -> Any:
        """Raises UnreadableError, and what `schema_of` raises."""
        try:
            return self._by_prefix(value)
        except (UnreadableError, SchemaError):
            key = key_in(headers)
            if key is None:
                raise
            return self._read(key, value, 0)

    def _by_prefix(self, value: bytes) -> Any:
        if len(value) < HEADER_BYTES or value[0] != 0:
            raise UnreadableError(
                f"expected wire format (a zero byte and a schema id), got {value[:8]!r}"
                + ("; of a topic of JSON say --json" if value[:1] in (b"{", b"[") else "")
            )
        schema_id = int.from_bytes(value[1:HEADER_BYTES], "big")
        return self._read(schema_id, value, HEADER_BYTES)

    def _read(self, key: SchemaKey, value: bytes, start: int) -> Any:
        if key not in self._parsed:
            text = self._schema_of(key)
            try:
                schema = fastavro.parse_schema(_without_logical_types(json.loads(text)))
            except (ValueError, KeyError, TypeError, *_NO_SCHEMA) as error:
                raise UnreadableError(
                    f"expected an Avro schema under {name_of(key)}, got {text[:80]!r}: {error!r}"
                ) from error
            self._parsed[key] = schema
        body = io.BytesIO(value)
        body.seek(start)
        try:
            decoded = fastavro.schemaless_reader(body, self._parsed[key], None)
        # What fastavro raises for bytes that do not follow the schema is not documented; these are
        # the kinds it was seen to raise, and Hypothesis-made garbage finds no other.
        except (EOFError, ValueError, IndexError, KeyError, OverflowError, MemoryError) as error:
            raise UnreadableError(
                f"expected a record of {name_of(key)}, got bytes that end or break before "
                f"byte {body.tell()} of {len(value)}: {error!r}"
            ) from error
        if rest := len(value) - body.tell():
            raise UnreadableError(
                f"expected a record of {name_of(key)}, got {rest} bytes after its end"
            )
        return decoded


def decode_json(value: bytes, headers: Sequence[tuple[str, bytes | None]] = ()) -> Any:
    """A value of a topic without a schema, as `JsonDecoder.decode` has the others. Raises
    UnreadableError."""
    try:
        return parse_record(value)
    except ValueError as error:
        raise UnreadableError(f"expected JSON, got {shown_bytes(value)}: {error}") from None


def to_json(value: Any, strict: bool = False) -> str:
    """One line of JSON. `strict`: raises ValueError for numbers that JSON does not have."""
    return json.dumps(value, ensure_ascii=False, default=_bytes_to_text, allow_nan=not strict)


def _bytes_to_text(value: object) -> str:
    assert isinstance(value, bytes), f"no JSON for {type(value)}"
    return value.decode("latin-1")


def _check_text(value: str, path: str, expected: str) -> None:
    """Half of a surrogate pair can be written in JSON, and is no character. Raises MisfitError."""
    if value.isascii():
        return
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _misfit(path, f"expected {expected} of whole characters, got {value!r}") from None


def _fit_bytes(schema: Any, value: Any, path: str) -> bytes:
    try:
        fitted = value.encode("latin-1")
    except (AttributeError, UnicodeEncodeError):
        raise _misfit(
            path, f"expected bytes as a string of the characters U+0000 to U+00FF, got {value!r}"
        ) from None
    if isinstance(schema, dict) and schema["type"] == "fixed" and len(fitted) != schema["size"]:
        raise _misfit(path, f"expected {schema['size']} bytes, got {len(fitted)}")
    assert isinstance(fitted, bytes)
    return fitted


def _is_scalar(schema: Any, kind: str, value: Any) -> bool:
    if kind == "null":
        return value is None
    if kind == "enum":
        return isinstance(value, str) and value in schema["symbols"]
    if kind in _INTEGER_BITS:
        half = 1 << (_INTEGER_BITS[kind] - 1)
        return isinstance(value, int) and not isinstance(value, bool) and -half <= value < half
    if kind in ("float", "double"):
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        if isinstance(value, int) and abs(value) > 1 << 1_000:
            return False  # larger than any double
        # A double that float cannot hold would become infinite.
        return kind == "double" or not math.isfinite(value) or abs(value) < 3.4028235677973366e38
    return kind in _TYPE_NAMES and isinstance(value, _TYPE_NAMES[kind])


def _misfit(path: str, message: str) -> MisfitError:
    return MisfitError(f"field {path} {message}" if path else message, path)


def _name(schema: Any) -> str:
    """A type as a user knows it."""
    if isinstance(schema, list):
        return " or ".join(_name(branch) for branch in schema)
    if isinstance(schema, str):
        return schema
    if schema["type"] == "enum":
        return f"one of {', '.join(schema['symbols'])}"
    if schema["type"] in ("record", "fixed"):
        return str(schema["name"]).rpartition(".")[2]
    if schema["type"] == "array":
        return f"an array of {_name(schema['items'])}"
    return str(schema["type"])


def _without_logical_types(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_without_logical_types(part) for part in schema]
    if isinstance(schema, dict):
        return {
            key: part if key == "default" else _without_logical_types(part)
            for key, part in schema.items()
            if key != "logicalType"
        }
    return schema
