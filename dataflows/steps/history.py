"""Training from clicks as the main job sees them: the same decoding, features and sessions.

    clicks (a file, the simulated shop, or a topic) ─▶ decode ─▶ user features ─▶ models.training

Whatever the source, clicks pass through the steps of the main job, so that a ranker is trained on
the very numbers it will be given: features after each click in the order of arrival, sessions cut
by the same gap.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from streamrec.connectors.click_files.clicks import FileClicks
from streamrec.connectors.log import NO_TIMESTAMP_MS, Detail, Log, RawBatch
from streamrec.connectors.reading import read_batches, whole
from streamrec.dataflows.errors.failed import Failed
from streamrec.dataflows.job.codecs import schema_of
from streamrec.dataflows.job.settings import Settings
from streamrec.dataflows.job.topics import CLICKS
from streamrec.dataflows.steps.batches import ShardClicks
from streamrec.dataflows.steps.decode import DecodeClicks
from streamrec.dataflows.steps.user_features import user_features
from streamrec.models.training.logs import ClickLog, DistinctItems
from streamrec.models.training.packed import Growing, PackedRows
from streamrec.models.users import kernels
from streamrec.models.users.features import declared
from streamrec.schemas.columns import Bytes, compact, take
from streamrec.schemas.wire import WireDecoder, WireEncoder

SCHEMA_ID = 1  # of what did not come from a registry
_BATCH = 2_000


@dataclass(frozen=True, slots=True)
class History:
    """n clicks with what the main job would have known right after each."""

    log: ClickLog
    items: DistinctItems  # that the log's are places among
    user_features: PackedRows  # (n, n_features)
    feature_names: tuple[str, ...]
    failed: int  # records that are no clicks, or too late
    # By topic and partition, the next offset to be read; empty: of a file or the shop.
    offsets: Mapping[str, Mapping[int, int]] = field(default_factory=dict)


def history_of(batches: Iterable[RawBatch], decoder: WireDecoder, settings: Settings) -> History:
    """Send clicks through the steps `decode` and `user features`."""
    features = declared(settings.windows)
    decode = DecodeClicks(
        lambda: decoder, len(features), shards=1, max_ahead_s=settings.max_ahead_s
    )
    shard = user_features(settings, features)()
    found = _Growing(len(features))
    failed = 0
    for batch in batches:
        for decoded in decode([batch]):
            if isinstance(decoded, Failed):
                failed += 1
                continue
            for out in shard.update([decoded]):
                if isinstance(out, Failed):
                    failed += 1
                else:
                    found.add(out)
    if not len(found.features):
        raise ValueError(f"training expected clicks, got none that is good and {failed} that fail")
    return History(found.log(), found.items(), found.features, tuple(features.names), failed)


class _Growing:
    """What is kept of each click: 20 bytes and its features."""

    def __init__(self, width: int) -> None:
        self._sessions, self._items, self._times_ms = Growing(), Growing(np.int32), Growing()
        # Of the items that differ: a log has far fewer of them than clicks.
        self._places: dict[int, int] = {}  # by key
        self._ids, self._starts, self._lengths = Growing(np.uint8), Growing(), Growing()
        self.features = PackedRows(width)

    def add(self, part: ShardClicks) -> None:
        assert part.sessions is not None
        items = part.clicks.matrix[kernels.ITEM, part.rows]
        self._sessions.add(part.sessions.keys)
        self._times_ms.add(part.clicks.matrix[kernels.TIME_MS, part.rows])
        self._add_items(items, take(part.clicks.item_ids, part.rows))
        self.features.add(part.clicks.features[part.rows])

    def _add_items(self, items: NDArray[np.int64], ids: Bytes) -> None:
        distinct, first, of_click = np.unique(items, return_index=True, return_inverse=True)
        new = [place for place, key in enumerate(distinct.tolist()) if key not in self._places]
        if new:
            texts = compact(ids, first[new])
            for key in distinct[new].tolist():
                self._places[key] = len(self._places)
            self._starts.add(len(self._ids) + texts.starts)
            self._lengths.add(texts.lengths)
            self._ids.add(texts.data)
        places = np.array([self._places[key] for key in distinct.tolist()], np.int32)
        self._items.add(places[of_click])

    def log(self) -> ClickLog:
        return ClickLog(self._sessions.whole(), self._items.whole(), self._times_ms.whole())

    def items(self) -> DistinctItems:
        keys = np.fromiter(self._places, np.int64, len(self._places))
        return DistinctItems(
            keys, Bytes(self._ids.whole(), self._starts.whole(), self._lengths.whole())
        )


def file_history(batches: Iterable[FileClicks], settings: Settings) -> History:
    """Of the clicks of files, in the order in which they come."""
    encoder = WireEncoder(CLICKS.schema, SCHEMA_ID)
    values: Iterator[list[bytes | None]] = (
        list(encoder.encode(dict(part.columns)).values)
        for clicks in batches
        for part in clicks.chunks(_BATCH)
    )
    return history_of(as_read(values), own_decoder(), settings)


def topic_history(log: Log, settings: Settings) -> History:
    """Of what the topic of clicks holds now, partition by partition, then by time."""
    with closing(log.registry()) as registry:
        decoder = WireDecoder(CLICKS.schema, partial(schema_of, registry, log.patience))
        topic = settings.topic(CLICKS)
        starts, stops = whole(log, topic)
        read = history_of(read_batches(log, topic, starts, stops), decoder, settings)
        return replace(read, offsets={topic: stops})


def own_decoder() -> WireDecoder:
    return WireDecoder(CLICKS.schema, lambda _: CLICKS.schema)


def as_read(values: Iterable[list[bytes | None]]) -> Iterator[RawBatch]:
    """As if they had been read from one partition."""
    offset = 0
    for part in values:
        offsets = np.arange(offset, offset + len(part))
        no_times_ms = np.full(len(part), NO_TIMESTAMP_MS)
        yield RawBatch(CLICKS.name, 0, offsets, part, lambda _: _NO_DETAIL, no_times_ms)
        offset += len(part)


_NO_DETAIL = Detail(None, [], NO_TIMESTAMP_MS)


def by_time(history: History) -> History:
    """The same in order of event time, as training wants it."""
    log = history.log
    if (log.times_ms[1:] >= log.times_ms[:-1]).all():
        return history
    order = np.argsort(log.times_ms, kind="stable")
    return History(
        ClickLog(log.sessions[order], log.items[order], log.times_ms[order]),
        history.items,
        history.user_features.reordered(order),
        history.feature_names,
        history.failed,
        history.offsets,
    )
