"""The ticks of a dataflow: where it begins with them, where a finite run ends, who writes them."""

import json
from collections.abc import Callable
from contextlib import closing
from functools import partial

from streamrec.connectors.log import Log, SchemaRegistry, UnknownTopicError
from streamrec.connectors.source import SourceOptions
from streamrec.connectors.ticks.gate import GateOptions
from streamrec.connectors.ticks.tick import Ends, TickCodec, first_tick
from streamrec.connectors.ticks.writer import TickOptions, TickWriter
from streamrec.connectors.written_once import write_once
from streamrec.dataflows.job.codecs import schema_of, schema_registered
from streamrec.dataflows.job.once import Once
from streamrec.dataflows.job.saved_state import state_directory
from streamrec.dataflows.job.settings import Settings
from streamrec.dataflows.job.start_error import StartError
from streamrec.dataflows.job.topics import TICKS
from streamrec.schemas.json_codec import JsonDecoder, JsonEncoder


class Ticking:
    """For the timed inputs of one dataflow in one process."""

    def __init__(
        self, log: Log, registry: SchemaRegistry, settings: Settings, stopping: Callable[[], bool]
    ) -> None:
        self._log = log
        self._settings = settings
        self._stopping = stopping
        self._inputs: dict[str, SourceOptions | None] = {}  # None: a table
        name = settings.topic(TICKS)
        registered = schema_registered(registry, TICKS, name, log.patience)
        self.codec = TickCodec(
            name,
            JsonEncoder(TICKS.schema, registered.id).encode,
            JsonDecoder(partial(schema_of, registry, log.patience)).decode,
            self._inputs.keys,
        )
        until = Once(self._ends_now)
        self.gate = GateOptions(self.codec, Once(self._first), None if settings.follow else until)
        self._until = None if settings.follow else until

    def add(self, name: str, options: SourceOptions | None = None) -> None:
        """An input, or a topic that is followed as a table."""
        self._inputs[name] = options

    def start(self) -> None:
        """Write ticks from now on: in one process of the dataflow."""
        settings = self._settings
        options = TickOptions(
            tuple(self._inputs),
            settings.tick_s,
            settings.tick_messages,
            self._until,
            self._stopping,
        )
        TickWriter(self._log, self.codec, options).start()

    def _ends_now(self) -> Ends:
        with closing(self._log.admin()) as admin:
            return {name: admin.ends(name, committed=True) for name in self._inputs}

    def _first(self) -> int:
        """The number of the first tick, found at the first start."""
        folder = state_directory(self._settings)
        if folder is None:
            return self._find_first()
        path = folder / "ticks" / f"{self.codec.topic}.json"
        return int(json.loads(write_once(path, lambda: str(self._find_first()).encode())))

    def _find_first(self) -> int:
        try:
            with closing(self._log.admin()) as admin:
                positions = {
                    name: options.positions(admin)
                    for name, options in self._inputs.items()
                    if options is not None
                }
            return first_tick(self._log, self.codec, positions)
        except UnknownTopicError as error:
            raise StartError(
                f"{error}; run `streamrec topics create`, with --dataflow MODULE for a dataflow "
                "of your own"
            ) from error


__all__ = ["Ticking"]
