import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from streamrec.models.training.logs import (
    BadLog,
    BadRows,
    ClickLog,
    Columns,
    SessionRows,
    is_jsonl,
    item_key,
    questions,
    read_log,
    read_questions,
    read_sessions,
)


def test_session_log_is_sorted_by_time_and_bad_rows_are_named(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text(
        "user_id,item_id,timestamp_s\n7,100,1511658002\n8,abc,1511658000.5\n7,,1511658003\n"
        "9,100\n7,101,yesterday\n8,102,2017-11-26T01:00:05\n"
    )
    bad = BadRows()
    log = read_log([path], Columns(), bad)
    assert log.sessions.tolist() == [8, 7, 8]
    assert log.items.tolist() == [item_key("abc"), 100, 102]
    assert log.times_ms.tolist() == [1511658000500, 1511658002000, 1511658005000]
    assert sorted(bad.first) == [
        "log.csv line 4: expected an item id in column 'item_id', got ''",
        "log.csv line 5: expected 3 columns, got 2",
        "log.csv line 6: expected seconds, milliseconds or an ISO 8601 time in column "
        "'timestamp_s', got 'yesterday'",
    ]


@pytest.mark.parametrize("form", ["csv", "tsv", "csv.gz", "parquet"])
def test_formats_are_told_by_content(tmp_path: Path, form: str) -> None:
    path = tmp_path / "log"  # no suffix to go by
    rows = [(1, 20, 1_600_000_000_000), (1, 21, 1_600_000_001_000)]
    if form == "parquet":
        pq.write_table(pa.table(dict(zip("sit", zip(*rows, strict=True), strict=True))), path)
    else:
        mark = "\t" if form == "tsv" else ","
        text = "\n".join(mark.join(map(str, row)) for row in [("s", "i", "t"), *rows]) + "\n"
        path.write_bytes(gzip.compress(text.encode()) if form == "csv.gz" else text.encode())
    log = read_log([path], Columns("s", "i", "t"), BadRows())
    assert (log.sessions.tolist(), log.items.tolist()) == ([1, 1], [20, 21])
    assert log.times_ms.tolist() == [1_600_000_000_000, 1_600_000_001_000]
    assert not is_jsonl(path)


def test_missing_column_is_named_with_what_there_is(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("a,item_id,time\n1,2,3\n")
    with pytest.raises(BadLog, match=r"session column .*got \['a', 'item_id', 'time'\]"):
        read_log([path], Columns(), BadRows())
    with pytest.raises(BadLog, match="expected the item column 'thing'"):
        read_log([path], Columns(session="a", item="thing"), BadRows())


def test_json_lines_with_integers_and_strings(tmp_path: Path) -> None:
    train, test = tmp_path / "train.jsonl.gz", tmp_path / "test.jsonl"
    train.write_bytes(gzip.compress(b'[5, "5", "x"]\n{"no": 1}\n[]\nnot json\n[true]\n[7]\n'))
    bad = BadRows()
    log = read_sessions([train], bad)
    assert is_jsonl(train)
    assert log.sessions.tolist() == [0, 0, 0, 1]
    assert log.items.tolist() == [5, 5, item_key("x"), 7]
    assert [text.split(":")[0] for text in bad.first] == [
        f"train.jsonl.gz line {line}" for line in (2, 3, 4, 5)
    ]
    lines = [{"prefix": [1, 2], "target": 3}, {"prefix": [], "target": "x"}, {"prefix": 1}]
    test.write_text("\n".join(map(json.dumps, lines)))
    prefixes, targets = read_questions([test], bad)
    assert [prefix.tolist() for prefix in prefixes] == [[1, 2], []]
    assert targets.tolist() == [3, item_key("x")]
    assert bad.count == 5


def test_questions_keep_the_newest_items() -> None:
    prefixes = [np.arange(3), np.arange(120), np.arange(0)]
    numbers = np.concatenate(prefixes).astype(np.int32)
    judged = questions(prefixes, numbers, np.array([1, 2, -1], np.int32))
    assert judged.sessions.bounds.tolist() == [0, 3, 53, 53]
    assert judged.sessions.items[3:].tolist() == list(range(70, 120))
    assert judged.sessions.positions.tolist() == [3, 120, 0]


def test_sessions_of_interleaved_clicks() -> None:
    log = ClickLog(np.array([4, 9, 4, 4, 9]), np.array([1, 2, 3, 4, 5]), np.arange(1, 6) * 1000)
    rows = SessionRows(log, log.items.astype(np.int32), key_base=100)
    sessions = rows.sessions(slice(0, 5))
    lists = np.split(sessions.items, sessions.bounds[1:-1])
    assert [each.tolist() for each in lists] == [[1], [2], [1, 3], [1, 3, 4], [2, 5]]
    assert sessions.positions.tolist() == [1, 1, 2, 3, 2]
    assert sessions.keys.tolist() == [100, 101, 100, 100, 101]
    asked = rows.judged_rows()
    assert asked.tolist() == [0, 1, 2]
    assert rows.targets(asked).tolist() == [3, 5, 4]
