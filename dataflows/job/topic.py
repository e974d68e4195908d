"""`Topic`: what the records of a topic mean, how they are keyed, and what tells each of them."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Literal

from streamrec.connectors.log import TopicSpec
from streamrec.dataflows.job.answers import ANSWER_TYPES, HEADERS, Answers, type_at
from streamrec.dataflows.job.start_error import StartError
from streamrec.schemas.columns import VALUE

Format = Literal["avro", "json", "bytes"]
ERRORS_SCHEMA = "errors.avsc"
_FORMATS = ("avro", "json", "bytes")


@dataclass(frozen=True, eq=False)  # a row is itself, whatever it holds
class Topic:
    """A topic: what its records mean, how they are keyed, and whether a restart reads them back.

    Raises StartError for an Avro topic without a schema, and for another with one.
    """

    name: str  # by default; a setting may name it otherwise
    # A name in schemas/, or the path of an .avsc file; None: the format has no schema.
    schema_file: str | Path | None = None
    # Field of the value that is the key (UTF-8); of bytes, the column that is; None: keyed so:
    key_field: str | None = None
    key_doc: str = ""
    doc: str = ""  # what the setting of its name says
    # What a resumed sink reads back. Fields of the value that say partition and offset of the input
    # that a record answers and, if there, its topic, the dataflow that answers, and of an input
    # that has several outputs the kind and the number of this one; of nested records with dots.
    # "headers": the same stands in headers (job.answers), whatever the format is. None: records
    # may repeat after a crash.
    answers: Answers | None = None
    partitions: int = 8
    configs: Mapping[str, str] = field(default_factory=dict)
    beside: "Topic | None" = None  # named after this one, which its own name begins with
    format: Format = "avro"
    key_beside: bool = False  # the key is no field of the value: `Records.keys` holds it
    # Whether STREAMREC_<NAME>_TOPIC may name it otherwise; False: it is called what it is called.
    named_by_setting: bool = True
    replication: int = 1
    schema_text: str | None = None  # the schema itself, JSON text, where it stands in no file
    # A schema of the same bytes that columns can hold, where the topic's own has what they cannot.
    column_schema_text: str | None = None

    def __post_init__(self) -> None:
        where = f"topic {self.name!r}"
        if self.format not in _FORMATS:
            raise StartError(
                f"{where}: format expected {', '.join(_FORMATS[:-1])} or {_FORMATS[-1]}, "
                f"got {self.format!r}"
            )
        if self.format == "avro" and self.schema_file is None and self.schema_text is None:
            raise StartError(f"{where} expected a schema_file, or format json or bytes, got none")
        if self.format != "avro" and (self.schema_file or self.schema_text) is not None:
            raise StartError(
                f"{where} expected no schema_file beside format {self.format}, "
                f"got {str(self.schema_file or self.schema_text)!r}"
            )
        if isinstance(self.answers, str) and self.answers != HEADERS:
            raise StartError(
                f"{where}: answers expected names of fields or {HEADERS!r}, got {self.answers!r}"
            )
        if self.key_beside and self.key_field is not None:
            raise StartError(
                f"{where} expected no key_field, which is in the value, with key_beside, "
                f"got {self.key_field!r}"
            )

    @cached_property
    def setting(self) -> str | None:
        """The setting that names it; None: it is named after another, or by nobody else."""
        if self.beside or not self.named_by_setting:
            return None
        return f"{re.sub('[^a-z0-9]', '_', self.name.lower())}_topic"

    @property
    def read_step(self) -> str:
        """The id of the step that reads it, under which recovery keeps where that is.

        The engine takes no dots, and no id twice; a topic of a changing list may be read and
        written by one dataflow, and must be found again whatever else that does.
        """
        return self.name if self.named_by_setting else f"read {self.name.replace('.', ':')}"

    @property
    def write_step(self) -> str:
        """The id of the step that writes it."""
        return self.name if self.named_by_setting else f"write {self.name.replace('.', ':')}"

    @property
    def encode_step(self) -> str:
        """The id of the step that makes its records."""
        return f"encode {self.name if self.named_by_setting else self.name.replace('.', ':')}"

    @property
    def is_errors(self) -> bool:
        """Whether it holds records that failed."""
        return self.schema_file == ERRORS_SCHEMA

    @property
    def schema_place(self) -> str:
        """Where the schema stands, or what stands in for one, for a reader."""
        if self.schema_text is not None:
            return "its schema"
        if self.schema_file is None:
            return {"json": "JSON", "bytes": "bytes"}[self.format]
        return (
            f"schemas/{self.schema_file}"
            if isinstance(self.schema_file, str)
            else (self.schema_file.name)
        )

    @cached_property
    def schema(self) -> str:
        """The value schema as JSON text. Raises StartError."""
        if self.schema_text is not None:
            return self.schema_text
        path = self.schema_file
        if path is None:
            raise StartError(f"topic {self.name!r} expected a schema, got format {self.format}")
        try:
            if isinstance(path, str):
                return files("streamrec.schemas").joinpath(path).read_text(encoding="utf-8")
            return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise StartError(
                f"topic {self.name!r} expected its schema in {path}, got {error}"
            ) from error

    @property
    def column_schema(self) -> str:
        """What columns are encoded by. Raises StartError."""
        return self.column_schema_text or self.schema

    def checked(self) -> "Topic":
        """This row, as one that is written by key. Raises StartError where it cannot be: the key
        is no string of the schema, or `answers` are not its fields."""
        where = f"topic {self.name!r}"
        if self.format != "avro":
            return self._checked_without_schema()
        if self.key_field is None and not self.key_beside:
            raise StartError(f"{where} expected a key_field to be written by, got none")
        expected: list[tuple[str, str, tuple[str, ...]]] = []
        if self.key_field is not None:
            expected.append(("key_field", self.key_field, ("string",)))
        if isinstance(self.answers, tuple):
            if not 2 <= len(self.answers) <= len(ANSWER_TYPES):
                raise StartError(
                    f"{where} expected two to six answers (partition and offset, then topic of the "
                    f"input, dataflow, kind and number), got {self.answers!r}"
                )
            expected += [
                ("answers", *each) for each in zip(self.answers, ANSWER_TYPES, strict=False)
            ]
        try:
            schema = json.loads(self.schema)
            types = {name: type_at(schema, name) for _, name, _ in expected}
            _ = schema["fields"]
        except (ValueError, KeyError, TypeError) as error:
            raise StartError(
                f"{where} expected an Avro record in {self.schema_place}, got {error!r}"
            ) from error
        for what, name, kinds_of in expected:
            kind = types[name]
            if kind not in kinds_of:
                raise StartError(
                    f"{where}: {what} {name!r} expected a field of type {' or '.join(kinds_of)} in "
                    f"{self.schema_place}, got {'no such field' if kind is None else repr(kind)}"
                )
        return self

    def _checked_without_schema(self) -> "Topic":
        where = f"topic {self.name!r}"
        if isinstance(self.answers, tuple):
            raise StartError(
                f"{where} expected no answers, which are fields of a schema, beside format "
                f"{self.format}, got {self.answers!r}"
            )
        if self.key_field == VALUE:
            raise StartError(f"{where}: key_field expected another name than the column {VALUE!r}")
        return self

    @property
    def key_column(self) -> str:
        """The column that is the key of what is written. Of a topic without a schema it stands
        beside the value, and is called `key` where the row does not name it."""
        return self.key_field or "key"

    def spec(self, name: str | None = None) -> TopicSpec:
        """As the broker makes it, under the name that the settings give."""
        return TopicSpec(
            name or self.name, self.partitions, self.replication, configs=dict(self.configs)
        )


__all__ = ["ERRORS_SCHEMA", "Format", "Topic"]
