"""Values of records as `receive` prints them, each decoded as its topic has it."""

from collections.abc import Callable
from functools import partial
from typing import Any

from streamrec.connectors.log import Headers, Record, SchemaRegistry, schema_named
from streamrec.schemas.header_ids import key_in
from streamrec.schemas.json_codec import JsonDecoder, UnreadableError, decode_json
from streamrec.schemas.json_text import parse_record

# Raise UnreadableError, and what the registry raises.
Decode = Callable[[bytes, Headers], Any]


def avro(registry: SchemaRegistry) -> Decode:
    """Avro in wire format."""
    return JsonDecoder(partial(schema_named, registry)).decode


def by_content(registry: SchemaRegistry) -> Decode:
    """Avro in wire format where a value begins as that does, or a header says so; else JSON."""
    decode_avro = avro(registry)

    def decode(value: bytes, headers: Headers) -> Any:
        is_avro = value[:1] == b"\0" or key_in(headers) is not None
        return decode_avro(value, headers) if is_avro else decode_json(value, headers)

    return decode


def error_records(registry: SchemaRegistry) -> Decode:
    """Records of errors, in which what the original was is JSON or text where it can be."""
    decode_avro = avro(registry)

    def decode(value: bytes, headers: Headers) -> Any:
        fields = decode_avro(value, headers)
        if not (isinstance(fields, dict) and fields.keys() >= {"key", "value", "headers"}):
            raise UnreadableError(f"expected a record of errors.avsc, got {fields!r}")
        original = fields["value"]
        return {
            **fields,
            "key": text(fields["key"]),
            "value": original if original is None else _legible(original),
            "headers": by_name([(each["name"], each["value"]) for each in fields["headers"]]),
        }

    return decode


def as_text(value: bytes, headers: Headers) -> str:
    """Bytes as they are, as far as they are UTF-8."""
    return value.decode(errors="backslashreplace")


def with_meta(record: Record, value: Any) -> dict[str, Any]:
    """A value with what else the log has of its record."""
    return {
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": record.timestamp_ms,
        "key": text(record.key),
        "headers": by_name(record.headers),
        "value": value,
    }


def by_name(headers: Headers) -> dict[str, Any]:
    """Headers by name; of several of one name the list of their values, in order."""
    values: dict[str, list[str | None]] = {}
    for name, content in headers:
        values.setdefault(name, []).append(text(content))
    return {name: found[0] if len(found) == 1 else found for name, found in values.items()}


def text(content: bytes | None) -> str | None:
    return None if content is None else content.decode(errors="backslashreplace")


def _legible(original: bytes) -> Any:
    """JSON, or text, or what Avro's JSON has for bytes: the characters U+0000 to U+00FF."""
    try:
        return parse_record(original)
    except ValueError:
        pass
    try:
        return original.decode()
    except UnicodeDecodeError:
        return original  # `to_json` writes it


__all__ = ["Decode", "as_text", "avro", "by_content", "error_records", "with_meta"]
