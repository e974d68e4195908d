"""Records as plain values, with all that they carry: what a snapshot may hold of them.

Builtin types only, so that a snapshot is read whatever becomes of the modules that made it.
"""

from typing import Any

import numpy as np

from streamrec.connectors.log import RawBatch
from streamrec.dataflows.errors.failed import Details

# {"topic": str, "partition": int, "offsets": [int], "values": [bytes | None], "keys": the same,
#  "headers": [[(name, bytes | None)]] | None, "times_ms": [int], Unix ms or NO_TIMESTAMP_MS}
PlainBatch = dict[str, Any]


def plain_of(batch: RawBatch) -> PlainBatch:
    """A batch that is independent of what it was read from: on Kafka some calls a message."""
    details = Details.of(batch, range(len(batch)))
    return {
        "topic": batch.topic,
        "partition": int(batch.partition),
        "offsets": batch.offsets.tolist(),
        "values": list(batch.values),
        "keys": details.keys,
        "headers": details.headers,
        "times_ms": details.times_ms.tolist(),
    }


def batch_of_plain(plain: PlainBatch) -> RawBatch:
    """The inverse."""
    times_ms = np.array(plain["times_ms"], np.int64)
    details = Details(plain["keys"], plain["headers"], times_ms)
    return RawBatch(
        plain["topic"],
        plain["partition"],
        np.array(plain["offsets"], np.int64),
        plain["values"],
        details.__getitem__,
        times_ms,
    )


def size_of(plain: PlainBatch) -> int:
    """Bytes of its values."""
    return sum(len(value or b"") for value in plain["values"])


__all__ = ["PlainBatch", "batch_of_plain", "plain_of", "size_of"]
