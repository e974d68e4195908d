"""Shards: the worker that reads a user's clicks is the one that holds the user's state."""

import threading
from collections import Counter
from typing import Any

import bytewax.operators as op
import numpy as np
import pytest
from bytewax.dataflow import Dataflow
from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from bytewax.operators import StatefulBatchLogic
from bytewax.testing import TestingSink, cluster_main
from typing_extensions import override

from streamrec.connectors.partitioner import partition_for_key
from streamrec.connectors.source import lane_name
from streamrec.dataflows.steps.shards import shard_name, split_by_shard
from streamrec.schemas.columns import strings

SHARDS = 24


class _Lane(StatefulSourcePartition[tuple[str, int], None]):
    """Emits the name of the shard that has the lane's number, once."""

    def __init__(self, number: int, readers: dict[int, int]) -> None:
        self._left = [(shard_name(number), number)]
        readers[number] = threading.get_ident()

    @override
    def next_batch(self) -> list[tuple[str, int]]:
        if not self._left:
            raise StopIteration
        return [self._left.pop()]

    @override
    def snapshot(self) -> None:
        return None


class _Lanes(FixedPartitionedSource[tuple[str, int], None]):
    def __init__(self, readers: dict[int, int]) -> None:
        self._readers = readers

    @override
    def list_parts(self) -> list[str]:
        return [lane_name(number) for number in range(SHARDS)]

    @override
    def build_part(self, step_id: str, for_part: str, resume_state: None) -> _Lane:
        return _Lane(self.list_parts().index(for_part), self._readers)


class _Shard(StatefulBatchLogic[int, int, None]):
    def __init__(self, holders: dict[int, int]) -> None:
        self._holders = holders

    @override
    def on_batch(self, values: list[int]) -> tuple[list[int], bool]:
        self._holders[values[0]] = threading.get_ident()
        return [], StatefulBatchLogic.RETAIN

    @override
    def snapshot(self) -> None:
        return None


@pytest.mark.parametrize("workers", [2, 3, 4, 7, 16])
def test_the_engine_gives_a_shard_to_the_worker_of_its_lane(workers: int) -> None:
    readers: dict[int, int] = {}
    holders: dict[int, int] = {}
    flow = Dataflow("placement")
    keyed = op.input("lanes", flow, _Lanes(readers))
    held: Any = op.stateful_batch("shards", keyed, lambda resume: _Shard(holders))
    op.output("out", held, TestingSink([]))

    cluster_main(flow, [], 0, worker_count_per_proc=workers)  # type: ignore[no-untyped-call]

    assert holders == readers
    counts = Counter(holders.values()).values()
    assert len(counts) == workers and max(counts) - min(counts) <= 1


def test_names_of_shards_differ_and_stay() -> None:
    names = [shard_name(shard) for shard in range(1_024)]

    assert len(set(names)) == 1_024
    assert names[7] == "shard-0007-017251"  # snapshots are found by it
    assert all(name[-6:].isdigit() and len(name) == 17 for name in names)


def test_a_users_shard_is_the_partition_of_a_key() -> None:
    users = [f"user-{number}".encode() for number in range(500)]

    rows, ends = split_by_shard(strings(users), 8)

    shards = np.searchsorted(ends, np.arange(500), side="right")
    assert [partition_for_key(users[row], 8) for row in rows] == shards.tolist()
    for start, end in zip([0, *ends[:-1]], ends, strict=True):
        assert (np.diff(rows[start:end]) > 0).all()  # as they were read
    assert sorted(rows.tolist()) == list(range(500))
