"""Which clicks of an import are too late for a dataflow, by what their topic holds already."""

from contextlib import closing
from functools import partial

import numpy as np
from numpy.typing import NDArray

from streamrec.connectors.log import Log, LogError, RegistryUnavailableError, SchemaError
from streamrec.connectors.reading import read_batches, whole
from streamrec.dataflows.job.codecs import schema_of
from streamrec.dataflows.job.settings import Settings
from streamrec.dataflows.job.topics import CLICKS

_LOOKED_AT = 2_000  # newest records of all partitions together, so that it costs little
_OF_A_PARTITION = 200


class LateClicks:
    """Counts them while they are sent."""

    def __init__(self, log: Log, settings: Settings, topic: str) -> None:
        self.count = 0
        self._topic = topic
        self._window, self._window_ms = max(settings.windows, key=lambda window: window[1])
        try:
            newest_ms = _newest(log, settings, topic)
        except (LogError, SchemaError, RegistryUnavailableError):
            newest_ms = {}  # no import fails for that
        self._first_ms = {p: time_ms - self._window_ms for p, time_ms in newest_ms.items()}

    def add(self, partition: int, times_ms: NDArray[np.int64]) -> None:
        if partition in self._first_ms:
            self.count += int((times_ms < self._first_ms[partition]).sum())

    def warning(self) -> str:
        return (
            f"warning: {self.count:,} of these clicks are more than {self._window} older than what "
            f"their partition of {self._topic!r} held before, and too_late for the main job: "
            "import the oldest first, or into a topic of its own by --topic"
        )


def _newest(log: Log, settings: Settings, topic: str) -> dict[int, int]:
    """The watermark of each partition, by its last records, if so many users are among them that it
    is sure to stand (`streamrec.models.users.watermarks`)."""
    starts, stops = whole(log, topic)
    if not any(stops[p] > start for p, start in starts.items()):
        return {}
    # Here and not above: into an empty topic nothing comes too late, and this takes a second.
    from streamrec.dataflows.steps.batches import ShardClicks
    from streamrec.dataflows.steps.decode import DecodeClicks
    from streamrec.models.users import kernels
    from streamrec.models.users.watermarks import AGREE
    from streamrec.schemas.wire import WireDecoder

    looked_at = min(_OF_A_PARTITION, max(_LOOKED_AT // len(starts), 2 * AGREE))
    starts = {p: max(start, stops[p] - looked_at) for p, start in starts.items()}
    of_users: dict[int, dict[int, int]] = {p: {} for p in starts}
    with closing(log.registry()) as registry:
        decoder = WireDecoder(CLICKS.schema, partial(schema_of, registry, log.patience))
        decode = DecodeClicks(lambda: decoder, 0, shards=1, max_ahead_s=settings.max_ahead_s)
        for batch in read_batches(log, topic, starts, stops):
            for decoded in decode([batch]):
                if isinstance(decoded, ShardClicks):
                    matrix = decoded.clicks.matrix[:, decoded.rows]
                    users, times = matrix[kernels.HASH_LOW], matrix[kernels.TIME_MS]
                    newest = of_users[batch.partition]
                    for user, time_ms in zip(users.tolist(), times.tolist(), strict=True):
                        newest[user] = max(newest.get(user, 0), time_ms)
    return {
        partition: sorted(newest.values())[-AGREE - 1]
        for partition, newest in of_users.items()
        if len(newest) > AGREE
    }
