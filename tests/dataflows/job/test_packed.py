"""Several tables travel in one file."""

import pyarrow as pa

from streamrec.connectors.state_files import ROWS
from streamrec.dataflows.job.packed import is_packed, pack, unpack


def test_tables_come_out_as_they_went_in_and_empty_ones_take_no_room() -> None:
    users = pa.table({"user": ["u1", "u2", "u3"]})
    held = pa.table({"value": pa.array([b"a", None], pa.binary())})
    first = pack({"users": users, "held": held, "none": users.slice(0, 0)})
    second = pack({"users": users.slice(0, 1), "held": held.slice(0, 0)})

    assert unpack([first, second], "users") == [users, users.slice(0, 1)]
    assert unpack([first, second], "held") == [held]
    assert unpack([first, second], "none") == []
    assert (len(first), len(second)) == (2, 1)
    assert first.schema.metadata[ROWS] == b"5"
    assert is_packed(first) and is_packed(pack({})) and not is_packed(users)
