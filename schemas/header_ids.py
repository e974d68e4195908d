"""Schema ids in the headers of a record: the newer wire format of Confluent's clients.

The header `__value_schema_id` holds the schema of a value, which then is Avro alone, without a
prefix: a byte 1 and a GUID of 16 bytes, or a byte 0 and an id of 4 bytes, as the prefix has it.
(`__key_schema_id` says the same of a key; keys are not decoded here.)
"""

import uuid
from collections.abc import Callable, Sequence
from typing import Any

VALUE_SCHEMA_ID = "__value_schema_id"
HEADER_BYTES = 5  # of the prefix, in the older format: a byte 0 and an id of 4 bytes
_ID_BYTES = HEADER_BYTES  # which a header may hold just so
_GUID_BYTES = 17

SchemaKey = int | str  # a schema's id, or its GUID in canonical form
SchemaOf = Callable[[Any], str]  # of a SchemaKey, or of ids alone where nothing has GUIDs


def key_in(headers: Sequence[tuple[str, bytes | None]]) -> SchemaKey | None:
    """What the headers say is the schema of the value; None: nothing, or nothing that is legible.

    >>> key_in([("__value_schema_id", b"\\x01" + bytes(15) + b"\\x07")])
    '00000000-0000-0000-0000-000000000007'
    """
    for name, value in headers:
        if name == VALUE_SCHEMA_ID and value is not None:
            if len(value) == _GUID_BYTES and value[0] == 1:
                return str(uuid.UUID(bytes=bytes(value[1:])))
            if len(value) == _ID_BYTES and value[0] == 0:
                return int.from_bytes(value[1:], "big")
            return None
    return None


def name_of(key: SchemaKey) -> str:
    """For messages.

    >>> name_of(7)
    'schema id 7'
    """
    return f"schema id {key}" if isinstance(key, int) else f"schema GUID {key}"


__all__ = ["HEADER_BYTES", "VALUE_SCHEMA_ID", "SchemaKey", "SchemaOf", "key_in", "name_of"]
