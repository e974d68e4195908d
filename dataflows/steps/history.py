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
from streamrec.models.training.logs import ClickLog
from streamrec.models.users import kernels
from streamrec.models.users.features import declared
from streamrec.schemas.columns import Bytes, join_bytes, take
from streamrec.schemas.wire import WireDecoder, WireEncoder

SCHEMA_ID = 1  # of what did not come from a registry
_BATCH = 2_000


@dataclass(frozen=True, slots=True)
class History:
    """n clicks with what the main job would have known right after each."""

    log: ClickLog
    item_ids: Bytes  # (n,)
    user_features: NDArray[np.float32]  # (n, n_features)
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
    parts: list[ShardClicks] = []
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
                    parts.append(out)
    if not parts:
        raise ValueError(f"training expected clicks, got none that is good and {failed} that fail")
    return History(
        ClickLog(
            sessions=np.concatenate([_sessions(part) for part in parts]),
            items=np.concatenate([part.clicks.matrix[kernels.ITEM, part.rows] for part in parts]),
            times_ms=np.concatenate(
                [part.clicks.matrix[kernels.TIME_MS, part.rows] for part in parts]
            ),
        ),
        join_bytes([take(part.clicks.item_ids, part.rows) for part in parts]),
        np.concatenate([part.clicks.features[part.rows] for part in parts]),
        tuple(features.names),
        failed,
    )


def _sessions(part: ShardClicks) -> NDArray[np.int64]:
    assert part.sessions is not None
    return part.sessions.keys


def file_history(clicks: FileClicks, settings: Settings) -> History:
    """Of the clicks of a file."""
    encoder = WireEncoder(CLICKS.schema, SCHEMA_ID)
    raw = as_read(list(encoder.encode(columns).values) for _, columns in clicks.chunks(_BATCH))
    return history_of(raw, own_decoder(), settings)


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
        yield RawBatch(
            CLICKS.name, 0, np.arange(offset, offset + len(part)), part, lambda _: _NO_DETAIL
        )
        offset += len(part)


_NO_DETAIL = Detail(None, [], NO_TIMESTAMP_MS)


def by_time(history: History) -> History:
    """The same in order of event time, as training wants it."""
    order = np.argsort(history.log.times_ms, kind="stable")
    log = history.log
    return History(
        ClickLog(log.sessions[order], log.items[order], log.times_ms[order]),
        take(history.item_ids, order),
        history.user_features[order],
        history.feature_names,
        history.failed,
        history.offsets,
    )
