"""Parts of batches, which a slow model makes of a batch record by record."""

import numpy as np

from streamrec.connectors.batch_part import part
from streamrec.connectors.log import Detail, RawBatch


def test_what_is_left_of_a_batch_may_be_cut_thousands_of_times() -> None:
    count = 5_000
    numbers = np.arange(count, dtype=np.int64)

    def detail(index: int) -> Detail:
        return Detail(b"%d" % index, [], index)

    left = RawBatch("orders", 3, numbers + 7, [b"v%d" % n for n in numbers], detail, numbers)
    heads = []
    while len(left) > 1:
        heads.append(part(left, 0, 1))
        left = part(left, 1, len(left))

    assert [(int(each.offsets[0]), each.detail(0).key) for each in [*heads, left]] == [
        (number + 7, b"%d" % number) for number in range(count)
    ]
    inner = part(part(heads[10], 0, 1), 0, 1)
    assert (inner.values, inner.detail(0).timestamp_ms) == ([b"v10"], 10)
