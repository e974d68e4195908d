"""The schema registry of the embedded log: ids, versions and compatibility as Confluent's has them.

An id belongs to a schema, whatever subjects it stands under; a version counts within a subject.
Two texts are the same schema when their JSON is equal, whatever the spaces and the order of keys.
"""

import json
import sqlite3
import threading
from typing import Any

import fastavro.schema

from streamrec.connectors.compatibility import LEVELS, first_break
from streamrec.connectors.embedded.file import EmbeddedFile, explained, transaction
from streamrec.connectors.log import (
    IncompatibleSchemaError,
    RegisteredSchema,
    SchemaError,
    UnknownSchemaError,
)

_DEFAULT_LEVEL = "BACKWARD"
_ATTRIBUTES = {"array": "items", "map": "values", "enum": "symbols", "fixed": "size"}
_VERSIONS = (
    "SELECT v.version, s.id, s.text, s.canonical FROM versions v JOIN schemas s"
    " ON s.id = v.schema_id WHERE v.subject = ? ORDER BY v.version DESC"
)


class EmbeddedRegistry:
    """A SchemaRegistry, safe for use by several threads."""

    def __init__(self, file: EmbeddedFile) -> None:
        self._where = file.where
        self._db = file.connect()
        self._lock = threading.Lock()
        self._by_id: dict[int, str] = {}

    def by_id(self, schema_id: int) -> str:
        known = self._by_id.get(schema_id)
        if known is not None:
            return known
        with self._lock, explained(self._where):
            row = self._db.execute("SELECT text FROM schemas WHERE id = ?", (schema_id,)).fetchone()
        if row is None:
            raise UnknownSchemaError(
                f"{self._where}: expected a schema with id {schema_id}, got none; register it with "
                "`topics create`, or look whether the record comes from another log"
            )
        text: str = row[0]
        self._by_id[schema_id] = text
        return text

    def by_guid(self, guid: str) -> str:
        raise UnknownSchemaError(
            f"{self._where}: expected a schema with GUID {guid}, got none: the embedded log has "
            "ids only; look whether the record comes from another log"
        )

    def latest(self, subject: str) -> RegisteredSchema:
        with self._lock, explained(self._where):
            row = self._db.execute(_VERSIONS, (subject,)).fetchone()
        if row is None:
            raise UnknownSchemaError(
                f"{self._where}: expected a schema under subject {subject!r}, got none; register "
                "it with `topics create`"
            )
        version, schema_id, text, _ = row
        return RegisteredSchema(subject, version, schema_id, text)

    def find(self, subject: str, schema: str) -> RegisteredSchema:
        canonical = _canonical(self._where, subject, schema)
        with self._lock, explained(self._where):
            versions = self._db.execute(_VERSIONS, (subject,)).fetchall()
        for version, schema_id, text, known in versions:
            if known == canonical:
                return RegisteredSchema(subject, version, schema_id, text)
        raise UnknownSchemaError(
            f"{self._where}: expected this schema under subject {subject!r}, got "
            f"{len(versions)} others; register it with `topics create`"
        )

    def register(self, subject: str, schema: str) -> RegisteredSchema:
        canonical = _canonical(self._where, subject, schema)
        with self._lock, explained(self._where), transaction(self._db):
            versions = self._db.execute(_VERSIONS, (subject,)).fetchall()
            for version, schema_id, text, known in versions:
                if known == canonical:
                    return RegisteredSchema(subject, version, schema_id, text)
            self._check(subject, schema, versions)
            self._db.execute(
                "INSERT OR IGNORE INTO schemas (text, canonical) VALUES (?, ?)", (schema, canonical)
            )
            schema_id, text = self._db.execute(
                "SELECT id, text FROM schemas WHERE canonical = ?", (canonical,)
            ).fetchone()
            version = versions[0][0] + 1 if versions else 1
            self._db.execute("INSERT INTO versions VALUES (?, ?, ?)", (subject, version, schema_id))
        return RegisteredSchema(subject, version, schema_id, text)

    def set_compatibility(self, subject: str, level: str) -> None:
        """Set the rule that new versions of a subject must keep: BACKWARD, FORWARD, FULL, each also
        with _TRANSITIVE (all versions, not just the latest), or NONE."""
        if level not in LEVELS:
            raise SchemaError(
                f"{self._where}: subject {subject!r}: compatibility expected one of "
                f"{', '.join(LEVELS)}, got {level!r}"
            )
        with self._lock, explained(self._where):
            self._db.execute("INSERT OR REPLACE INTO compatibility VALUES (?, ?)", (subject, level))

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def _check(self, subject: str, schema: str, versions: list[sqlite3.Row]) -> None:
        row = self._db.execute(
            "SELECT level FROM compatibility WHERE subject = ?", (subject,)
        ).fetchone()
        level = row[0] if row else _DEFAULT_LEVEL
        against = versions if level.endswith("_TRANSITIVE") else versions[:1]
        for version, _, text, _ in against:
            found = first_break(json.loads(schema), json.loads(text), level)
            if found is not None:
                raise IncompatibleSchemaError(
                    f"{self._where}: subject {subject!r}: expected a schema {level} compatible "
                    f"with version {version}, got a break at {found}"
                )


def _canonical(where: str, subject: str, schema: str) -> str:
    try:
        parsed = json.loads(schema)
        fastavro.schema.parse_schema(parsed)
        _require_attributes(parsed)
    except (ValueError, KeyError, TypeError, fastavro.schema.UnknownType) as error:
        raise SchemaError(
            f"{where}: subject {subject!r}: expected an Avro schema, got {schema[:80]!r}: "
            f"{type(error).__name__}: {error}"
        ) from error
    return json.dumps(parsed, sort_keys=True, separators=(",", ":"))


def _require_attributes(schema: Any) -> None:
    """Raises KeyError for a type without its parts, which fastavro lets pass."""
    if isinstance(schema, list):
        for branch in schema:
            _require_attributes(branch)
    elif isinstance(schema, dict):
        kind = schema["type"]
        if not isinstance(kind, str):
            _require_attributes(kind)
        elif kind in ("record", "error"):
            for field in schema["fields"]:
                _require_attributes(field["type"])
        elif kind in _ATTRIBUTES:
            _require_attributes(schema[_ATTRIBUTES[kind]])
