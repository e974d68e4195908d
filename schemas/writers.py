"""What a decoder knows of the schemas that records were written with: each is asked for once."""

import time
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from streamrec.schemas.decoder import KernelDecoder
from streamrec.schemas.fallback import Transcoder
from streamrec.schemas.header_ids import SchemaKey, SchemaOf
from streamrec.schemas.opcodes import WireFault
from streamrec.schemas.parsing import InvalidSchemaError, Type, UnsupportedSchemaError, parse
from streamrec.schemas.registry import SchemaError, UnknownSchemaError
from streamrec.schemas.resolution import ResolutionError

_NO_ID = -1  # ids on the wire are unsigned, so none equals it
_UNKNOWN_MAX = 10_000


class Writers:
    """Writers' schemas by id or GUID, each compiled for one reader.

    `table` is what the kernel looks prefixes up in; `entries` holds the same for every key, with
    minus a fault for all records of a writer that cannot be read, or not by the kernel.
    """

    def __init__(
        self,
        kernel: KernelDecoder,
        reader: Type,
        schema_of: SchemaOf,
        unknown_kept_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kernel = kernel
        self._reader = reader
        self._schema_of = schema_of
        self._unknown_kept_s = unknown_kept_s
        self._clock = clock
        self._unknown_until: dict[SchemaKey, float] = {}
        self._unknown_why: dict[SchemaKey, str] = {}
        self.table: NDArray[np.int64] = np.array([[_NO_ID, -WireFault.UNKNOWN_ID]], np.int64)
        self.entries: dict[SchemaKey, int] = {}
        self.errors: dict[SchemaKey, Exception] = {}
        self.transcoders: dict[SchemaKey, Transcoder] = {}

    def learn(self, keys: Iterable[SchemaKey]) -> bool:
        """Ask for the schemas of keys met for the first time; whether any became known.

        Lets what `schema_of` raises through, other than SchemaError.
        """
        now = self._clock()
        if len(self._unknown_until) > _UNKNOWN_MAX:  # garbage makes up new ids without end
            self._unknown_until.clear()
            self._unknown_why.clear()
        learned = False
        for key in keys:
            if key in self.entries or self._unknown_until.get(key, now) > now:
                continue
            try:
                schema = self._schema_of(key)
            except UnknownSchemaError as error:
                self._unknown_until[key] = now + self._unknown_kept_s
                self._unknown_why[key] = str(error)
                continue
            except SchemaError as error:  # known, but no Avro
                self.errors[key] = error
                entry = int(-WireFault.UNRESOLVED_ID)
            else:
                entry = self._compile(key, schema)
            self._unknown_until.pop(key, None)
            self._unknown_why.pop(key, None)
            self.entries[key] = entry
            if isinstance(key, int):
                self.table = np.concatenate([self.table, [[key, entry]]])
            learned = True
        return learned

    def entry(self, key: SchemaKey) -> int:
        """What the kernel is to do with the records of a writer, known or not."""
        return self.entries.get(key, int(-WireFault.UNKNOWN_ID))

    def why_unknown(self, key: SchemaKey) -> str:
        """What was said when it was asked for last."""
        return self._unknown_why.get(key, "")

    def _compile(self, key: SchemaKey, schema: str) -> int:
        try:
            writer = parse(schema)
            try:
                return self._kernel.program.add(writer)
            except UnsupportedSchemaError:
                self.transcoders[key] = Transcoder(writer, self._reader)
                return int(-WireFault.SLOW_ID)
        except (InvalidSchemaError, ResolutionError, UnsupportedSchemaError) as error:
            self.errors[key] = error
            return int(-WireFault.UNRESOLVED_ID)


__all__ = ["Writers"]
