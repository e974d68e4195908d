"""`Job`: what a dataflow reads, keeps and writes, on the log and the registry of the settings.

    def build_flow(job: Job) -> Dataflow:
        flow = Dataflow(FLOW_ID)
        clicks = each_batch("decode", job.read(flow, CLICKS), decode_clicks(job), failing="bad")
        counted = by_shard("count", clicks.good, job.keep(CountCarts), failing="late")
        unencodable = job.write(counted.good, CARTS, cart_columns, failing="unencodable")
        job.write_errors(clicks.failed, counted.failed, unencodable)
        return flow

    def flow() -> Dataflow:
        return build_flow(open_job(FLOW_ID))

`PaperJob` (`job.paper`) is the same without a log.
"""

import atexit
import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Literal, NamedTuple, TypeVar, overload

import bytewax.operators as op
from bytewax.dataflow import Dataflow, Stream
from bytewax.inputs import Source
from bytewax.operators import KeyedStream
from bytewax.outputs import Sink

from streamrec.connectors.allowance import Allowance
from streamrec.connectors.log import Headers, Log, SchemaRegistry
from streamrec.connectors.log_settings import without_passwords
from streamrec.connectors.out import Out
from streamrec.connectors.per_thread import PerThread
from streamrec.connectors.source import LogSource, SourceOptions
from streamrec.connectors.table import Table
from streamrec.connectors.ticks.timed_table import TimedTable
from streamrec.dataflows.engine.epochs import Epochs
from streamrec.dataflows.engine.flags import addresses, backup_interval_s, process_index
from streamrec.dataflows.engine.holding import Holding
from streamrec.dataflows.engine.leaving import has_failed, leaving
from streamrec.dataflows.engine.stopping import Stopping
from streamrec.dataflows.engine.wrapping import EngineSink, EngineSource
from streamrec.dataflows.errors.encode import EncodeErrors
from streamrec.dataflows.errors.failed import Failed
from streamrec.dataflows.job.answers import HEADERS
from streamrec.dataflows.job.codecs import (
    decoder_of,
    encoder_of,
    plain_value_of,
    schema_of,
    schema_registered,
)
from streamrec.dataflows.job.encoding import ColumnsOf, Encode, EncodeOptions
from streamrec.dataflows.job.kept import Keep, Kept
from streamrec.dataflows.job.later import Again, Ask, AskLater
from streamrec.dataflows.job.once import Once
from streamrec.dataflows.job.outputs import Outputs
from streamrec.dataflows.job.parts import finished, split_failed, without_keys
from streamrec.dataflows.job.report import Report, report_every
from streamrec.dataflows.job.saved_state import (
    check_shape,
    note_inputs,
    source_start,
    state_directory,
)
from streamrec.dataflows.job.settings import (
    Settings,
    group_of_reader,
)
from streamrec.dataflows.job.start_error import StartError
from streamrec.dataflows.job.ticking import Ticking
from streamrec.dataflows.job.topics import ERRORS, Topic
from streamrec.schemas.json_codec import JsonDecoder
from streamrec.schemas.plain import ValueDecoder, ValueEncoder
from streamrec.schemas.wire import WireDecoder
from streamrec.services.store.contract import Space, StoreError
from streamrec.services.store.opening import is_local, open_store
from streamrec.services.store.sink import Puts, StoreSink, StoreSinkOptions

T = TypeVar("T")
_logger = logging.getLogger(__name__)

_ANY_SIZE = 1 << 40  # the broker will say
MAIN = "recommender"  # whose consumer group is the one of the settings


class _Input(NamedTuple):
    """A topic that is read, and by whom of the dataflow."""

    topic: Topic
    timed: bool
    reader: str

    @property
    def step(self) -> str:
        """The id of the step that reads it."""
        return f"{self.topic.read_step} for {self.reader}" if self.reader else self.topic.read_step


class Job:
    """The ends of one dataflow: what its functions `build_flow` and its steps are given."""

    def __init__(
        self,
        flow_id: str,
        settings: Settings,
        log: Log,
        on_built: Callable[[], object] = lambda: None,
        holding: Holding | None = None,
        durable_epoch: int | None = None,
        stopping: Stopping | None = None,
        inputs_change: bool = False,
    ) -> None:
        """`on_built` is called once the engine begins; `holding` is what this process alone may
        write; `durable_epoch` as `prepare_recovery_directory` says; `stopping` is the wish to stop;
        `inputs_change`, and the rest, as `open_job` says."""
        if flow_id != MAIN:
            # A group of its own: the main job commits its progress on the same topic.
            group = f"{settings.consumer_group}-{flow_id}"
            settings = settings.model_copy(update={"consumer_group": group})
        self.flow_id = flow_id
        self.settings = settings
        self.log = log
        self.registry: SchemaRegistry = log.registry()
        self.report = Report(flow_id)
        self._on_built = on_built
        self._begins = Once(self._begin)
        self._holding = holding or Holding()
        self._durable_epoch = durable_epoch
        self._epochs = Epochs(durable_epoch, self.report.epochs)
        self._inputs_change = inputs_change
        self._stopping = stopping or Stopping().on_signals()
        self._inputs: list[_Input] = []
        self._ticking: Ticking | None = None
        self._timed_tables: dict[str, TimedTable] = {}
        self._store_sinks: list[StoreSink] = []
        self._has_begun = False
        self._outputs: Outputs | None = None
        self._written: list[Topic] = []
        self._allowances: dict[tuple[str, str], Allowance] = {}  # by topic, on the log, and reader
        self._at_end: list[Callable[[], object]] = []

    # What build_flow wires.

    def read(
        self,
        flow: Dataflow,
        topic: Topic,
        *,
        timed: bool = False,
        allowance: Allowance | None = None,
        reader: str = "",
    ) -> Stream[Any]:
        """Read a topic from where the settings say, or on from where the last run stopped. A
        dataflow may read several, each of them once, before it writes. Emits `RawBatch`es.

        `reader`: where parts of a dataflow come and go (`inputs_change`), each may read the same
        topic under a name of its own: it has a place there, and a consumer group, for itself.

        `timed`: records come up to a tick, then the tick (`LaneTick`), and so on, for steps that go
        by event time over all inputs (`InEventTime`): all of a dataflow's or none.
        Raises SettingsError where saved state is another flow's.
        """
        others = [each.topic for each in self._inputs if each.reader == reader]
        self._check_alone(topic, others, "read", "one stream may go to several steps")
        if self._written:
            raise StartError(
                f"dataflow {self.flow_id!r} expected all of job.read before the first job.write, "
                f"got topic {topic.name!r} read after {self._written[0].name!r} was written"
            )
        if timed and allowance is not None:
            raise StartError(
                f"dataflow {self.flow_id!r} expected topic {topic.name!r} timed or with an "
                "allowance, got both: ticks say what is handed over"
            )
        if timed and reader:
            raise StartError(
                f"dataflow {self.flow_id!r} expected topic {topic.name!r} timed or with a reader, "
                f"got both ({reader!r}): all that is timed is read at one pace"
            )
        self._inputs.append(_Input(topic, timed, reader))
        if allowance is not None:
            self._allowances[self.settings.topic(topic), reader] = allowance
        self._check_timed_tables()
        untimed = [each.topic.name for each in self._inputs if not each.timed]
        if untimed and len(untimed) < len(self._inputs):
            raise StartError(
                f"dataflow {self.flow_id!r} expected all inputs timed or none, got "
                f"{', '.join(untimed)} that is not"
            )
        read = self._inputs[-1]
        return op.input(read.step, flow, self._source_of(read))

    def keep(self, make: Callable[[], Kept]) -> Keep:
        """State of each shard of a step, in files under the recovery directory.

        `make` makes the logic of one shard: anything with `update`, `changed` and `restore`
        (`job.kept.Kept`); `ByKey` is one that needs `update` only. For `by_shard`.
        """
        return Keep(
            make,
            state_directory(self.settings),
            backup_interval_s(),
            self._holding,
            self._epochs,
        )

    def later(self, ask: Ask, again: Again, reader: str = "") -> AskLater:
        """Answers that come later, for `answer_later`.

        `ask` is given an item and returns at once: a list of what comes of it, or a future of one.
        Items say which records they are (`raw()`, as those of `decode_records` do), and a snapshot
        holds those that wait for an answer. After a restart `again`, which is what decodes them in
        the step before, makes items of them once more. A topic that is read with an `allowance`
        has no more waiting than that says. Items of what was read for a `reader` name it.
        """
        self._answers_late()
        allowances = {topic: each for (topic, by), each in self._allowances.items() if not by}
        allowances |= {
            topic: each for (topic, by), each in self._allowances.items() if by == reader
        }
        return AskLater(ask, again, allowances, self._stopping)

    def write(
        self,
        up: KeyedStream[Any],
        topic: Topic,
        columns_of: ColumnsOf,
        *,
        failing: str | None = None,
        group: str = "",
    ) -> KeyedStream[Failed] | None:
        """Encode, split by the key's partition, and write; returns what could not be encoded.

        `columns_of` makes columns of what has come (`job.encoding.Records`). Where the topic's row
        names `answers`, records are read back after a crash and written once. Without `failing` a
        record that cannot be encoded stops the flow there, and None is returned. An output stands
        in one topic of a `group`: where a dataflow does several things with an input, each has a
        group of its own. Raises StartError where the topic's schema is not registered.
        """
        self._add_output(topic)
        options = EncodeOptions(
            key_field=topic.checked().key_column,
            reads_back=topic.answers is not None,
            max_message_bytes=_ANY_SIZE if failing is None else self.settings.max_message_bytes,
            keeps_failed=failing is not None,
            told_in_headers_of=self.flow_id if topic.answers == HEADERS else None,
        )
        encode = Encode(columns_of, self.encoder(topic), self._partitions(topic), options)
        out, failed = self._encoded(topic.encode_step, up, encode, failing)
        op.output(topic.write_step, out, self._sink(topic, group))
        return failed

    def write_errors(
        self, *failed: KeyedStream[Failed] | None, topic: Topic = ERRORS, group: str = ""
    ) -> None:
        """Write all that failed, whatever step it failed at, to `errors` or to a topic like it
        (`errors_topic`). `group` as in `write`."""
        streams = [stream for stream in failed if stream is not None]
        if not streams:
            raise StartError(f"dataflow {self.flow_id!r}: write_errors expected streams, got none")
        if not topic.is_errors:
            raise StartError(
                f"dataflow {self.flow_id!r}: write_errors expected a topic of errors, as "
                f"errors_topic(name) makes it, got {topic.name!r} with {topic.schema_place}"
            )
        self._add_output(topic)
        encode_errors = EncodeErrors(
            self.encoder(topic), self._partitions(topic), self._largest(topic), self.flow_id
        )

        def encode(batch: list[Failed]) -> list[Out]:
            self.report.failed(batch)
            return encode_errors(batch)

        merged = "all failed" if topic is ERRORS else f"all failed, {topic.encode_step}"
        out, _ = self._encoded(topic.encode_step, op.merge(merged, *streams), encode, None)
        op.output(topic.write_step, out, self._sink(topic, group))

    def put(self, step_id: str, up: KeyedStream[Puts | Failed], space: Space) -> None:
        """Put into the store of the settings what a step made (`services.store.sink.Puts`): merged
        into what is there, so that what a crash repeats changes nothing. Raises StartError."""
        op.output(step_id, up, self._store_sink(space))

    @overload
    def table(self, topic: Topic) -> Table: ...

    @overload
    def table(self, topic: Topic, *, timed: Literal[False]) -> Table: ...

    @overload
    def table(self, topic: Topic, *, timed: Literal[True]) -> TimedTable: ...

    def table(self, topic: Topic, *, timed: bool = False) -> Table | TimedTable:
        """A compacted topic as a map from key to newest value, the same in every process: loaded
        before the first record, then followed by a thread. A value is what `receive` shows of it.

        What a step reads of it may be newer than the record at hand, and a replay sees the table
        as it is then. `timed`: a step that goes by event time (`InEventTime`) reads it as it was at
        the tick that it takes in, in every run; `table.at_tick_of(self)` is its view.
        """
        name = self.settings.topic(topic)
        # A registry that is away is waited for.
        found = partial(schema_of, self.registry, self.log.patience)
        decode = plain_value_of(topic)
        if not timed:
            return Table(self.log, name, found, decode).open()
        if name not in self._timed_tables:
            if self._has_begun:
                raise StartError(
                    f"dataflow {self.flow_id!r} expected job.table({topic.name!r}, timed=True) in "
                    "build_flow, got it from a step that runs"
                )
            ticking = self._opened_ticking()
            ticking.add(name)
            self._timed_tables[name] = TimedTable(
                self.log,
                name,
                ticking.codec,
                decode or JsonDecoder(found).decode,
                partial(self.report.read, name, ()),
            )
            self._check_timed_tables()
            self._timed_tables[name].open()
        return self._timed_tables[name]

    def uses(self, *topics: Topic) -> None:
        """Topics that parts of the dataflow read or write by themselves, beside its streams: they
        are made with its others (`streamrec topics create --dataflow`)."""

    @property
    def sources(self) -> tuple[Topic, ...]:
        """The topics that the dataflow reads, in the order of its `read`s."""
        return tuple(dict.fromkeys(each.topic for each in self._inputs))

    @property
    def inputs(self) -> tuple[str, ...]:
        """What they are called on the log."""
        return tuple(map(self.settings.topic, self.sources))

    # What steps ask for.

    def decoder(self, topic: Topic) -> Callable[[], ValueDecoder]:
        """Decoders of a topic's values, one for each worker."""
        waits = self.settings.unknown_schema == "wait"
        return decoder_of(self.registry, topic, self.log.patience if waits else None)

    def encoder(self, topic: Topic) -> Callable[[], ValueEncoder]:
        """Encoders of a topic's values, one for each worker. Raises StartError."""
        return encoder_of(self.registry, topic, self.settings.topic(topic), self.log.patience)

    def decoder_as(self, schema: str) -> Callable[[], ValueDecoder]:
        """Decoders of whatever Avro there is as a schema, JSON text: one for each worker."""
        waits = self.settings.unknown_schema == "wait"
        patience = self.log.patience if waits else None
        return PerThread(lambda: WireDecoder(schema, partial(schema_of, self.registry, patience)))

    def value_decoder(self) -> Callable[[bytes, Headers], Any]:
        """Decodes a value that is Avro as it was written, as `receive` shows it. Raises
        UnreadableError, SchemaError."""
        waits = self.settings.unknown_schema == "wait"
        patience = self.log.patience if waits else None
        return JsonDecoder(partial(schema_of, self.registry, patience)).decode

    def schema_id(self, topic: Topic) -> Callable[[], int]:
        """The id under which a topic's schema is registered, looked up now. Raises StartError."""
        found = schema_registered(
            self.registry, topic, self.settings.topic(topic), self.log.patience
        )
        return lambda: found.id

    def share(self, make: Callable[[], T]) -> Callable[[], T]:
        """One thing for all workers of the process, made now: what cannot be had is told before
        anything is read."""
        shared = Once(make)
        shared()
        return shared

    def waiting(self) -> dict[tuple[str, str], int]:
        """By topic, on the log, and reader, how many records wait for an answer."""
        return {place: allowance.waiting() for place, allowance in self._allowances.items()}

    def storing(self) -> int:
        """How many values were handed to the store and are not in it yet."""
        return sum(sink.waiting for sink in self._store_sinks)

    def is_stopping(self) -> bool:
        """Whether it was asked to end."""
        return self._stopping()

    def at_end(self, do: Callable[[], object]) -> None:
        """Do something when the process ends, once nothing more is read or written."""
        if not self._at_end:
            atexit.register(self.end)
        self._at_end.append(do)

    def end(self) -> None:
        """Do what is to be done at the end, once; for who runs a dataflow in a process that goes
        on."""
        while self._at_end:
            self._at_end.pop(0)()

    def start_reporting(self) -> None:
        """Log how the dataflow starts, a line of status every so often, and how it ended."""
        settings, report, folder = self.settings, self.report, state_directory(self.settings)
        facts = [f"{name} {text}" for name, text in report.facts.items()]
        kept = "nothing is kept over a restart (-r DIR keeps it)"
        if folder is not None:
            kept = f"state in {folder}, delivery {settings.delivery}"
        _logger.info(
            "%s starts on %s: %s",
            self.flow_id,
            self.log.describe_target(),
            ", ".join([*facts, f"begins at {settings.start_from.text()}", kept]),
        )
        if settings.status_s:
            report_every(report, self.log, settings.status_s)
        atexit.register(self._tell_how_it_ended)

    def _tell_how_it_ended(self) -> None:
        if not has_failed():
            _logger.info("%s", self.report.summary())

    # Ends.

    def _add_output(self, topic: Topic) -> None:
        self._check_alone(topic, self._written, "write", "merge the streams before job.write")
        self._written.append(topic)

    def _check_alone(self, topic: Topic, others: list[Topic], what: str, hint: str) -> None:
        """Whether no other is the same, or is called the same here."""
        name = self.settings.topic(topic)
        for other in others:
            if topic.name == other.name:
                raise StartError(
                    f"dataflow {self.flow_id!r} expected to {what} topic {topic.name!r} in one "
                    f"place, got two; {hint}"
                )
            if self.settings.topic(other) == name:
                raise StartError(
                    f"dataflow {self.flow_id!r} expected topics {other.name!r} and {topic.name!r} "
                    f"to be two, got settings that call both {name!r}"
                )

    def _encoded(
        self, step_id: str, up: KeyedStream[Any], encode: Callable[..., Any], failing: str | None
    ) -> tuple[KeyedStream[Out], KeyedStream[Failed] | None]:
        lanes = self.settings.lanes

        def run(batch: list[Any]) -> list[tuple[str, Any]]:
            return [
                (item.lane(lanes) if isinstance(item, Out) else "errors", item)
                for item in finished(step_id, encode(without_keys(batch)))
            ]

        encoded = op.flat_map_batch(step_id, up, leaving(run))
        if failing is None:
            return encoded, None
        parts = split_failed(failing, encoded)
        return parts.good, parts.failed

    def _check_timed_tables(self) -> None:
        if self._timed_tables and not all(each.timed for each in self._inputs):
            raise StartError(
                f"dataflow {self.flow_id!r} expected job.read(..., timed=True) beside the timed "
                f"table {next(iter(self._timed_tables))!r}, got inputs without ticks"
            )

    def _begin(self) -> None:
        self._has_begun = True
        if self._inputs_change:
            steps = [each.step for each in self._inputs]
            note_inputs(self.settings, steps, self._durable_epoch)
        self._on_built()
        if self._ticking is not None and process_index() == 0:
            self._ticking.start()

    def _answers_late(self) -> None:
        self._opened_outputs().late = True

    def _source_of(self, read: _Input) -> Source[Any]:
        settings, outputs, reader = self.settings, self._opened_outputs(), read.reader
        check_shape(settings, self.flow_id, self.sources, self._inputs_change)
        name = settings.topic(read.topic)
        options = SourceOptions(
            topic=name,
            group=group_of_reader(settings.consumer_group, reader),
            start=settings.start_from,
            follow=settings.follow,
            skip_lost=settings.lost_records == "skip",
            lanes=settings.lanes,
            batch_messages=settings.batch_messages,
            gather_ms=settings.gather_ms,
            remember_start=source_start(settings, name, reader),
            offsets_decide=state_directory(settings) is None,
            ending=outputs.ending,
            stopping=self._stopping,
            report=self.report.of_reader(reader),
            allowance=self._allowances.get((name, reader)),
        )
        if read.timed:
            outputs.late = True
            self._opened_ticking().add(name, options)
            options = replace(options, ticks=self._opened_ticking().gate)
        return EngineSource(LogSource(self.log, options), self._begins, self._epochs)

    def _sink(self, topic: Topic, group: str) -> Sink[Any]:
        name, traces = self.settings.topic(topic), self.report.traces
        wrote = partial(self.report.wrote, name, topic.is_errors)
        carried = None if traces is None else partial(traces.carried, name)
        sink = self._opened_outputs().sink(topic, wrote, group, carried)
        return EngineSink(sink, self._epochs)

    def _store_sink(self, space: Space) -> Sink[Any]:
        named = self.settings.store
        hosts = {address.rpartition(":")[0] for address in addresses()}
        if is_local(named) and len(hosts) > 1:
            raise StartError(
                f"dataflow {self.flow_id!r} expected STREAMREC_STORE=redis://... where its "
                f"processes run on several machines, got the folder {named!r}"
            )
        self.report.facts["store"] = without_passwords(named)
        try:
            store = open_store(named, make=True)
        except StoreError as error:
            raise StartError(str(error)) from error
        options = StoreSinkOptions(
            space,
            self.settings.lanes,
            self._opened_outputs().ending,
            self._holding,
            self._stopping,
            self.report.stored,
        )
        self._store_sinks.append(StoreSink(store, options))
        return EngineSink(self._store_sinks[-1], self._epochs)

    def _partitions(self, topic: Topic) -> Callable[[], int]:
        return self._opened_outputs().partitions(topic)

    def _largest(self, topic: Topic) -> Callable[[], int]:
        return self._opened_outputs().largest_bytes(topic)

    def _opened_ticking(self) -> Ticking:
        if self._ticking is None:
            self._ticking = Ticking(self.log, self.registry, self.settings, self._stopping)
        return self._ticking

    def _opened_outputs(self) -> Outputs:
        if self._outputs is None:
            if not self._inputs:
                raise StartError(f"dataflow {self.flow_id!r} expected job.read before job.write")
            self._outputs = Outputs(
                self.log,
                self.registry,
                self.settings,
                self.flow_id,
                lambda: self.inputs,
                self._holding,
            )
        return self._outputs


__all__ = ["Job"]
