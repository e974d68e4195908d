"""What `evaluate` reads: session logs, and sessions and questions as JSON lines."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from streamrec.connectors.click_files.names import Names
from streamrec.connectors.click_files.reading import ReadAs
from streamrec.connectors.click_files.rejecting import ClickFileError
from streamrec.models.training.logs import item_key
from streamrec.program.learning.evaluate_files import read_log, read_questions
from streamrec.program.rejected_rows import RejectedRows


def quiet() -> RejectedRows:
    return RejectedRows(several_files=True, say=lambda _: None)


def test_session_log_is_sorted_by_time_and_bad_rows_are_named(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text(
        "user_id,item_id,timestamp_s\n7,100,1511658002\n8,abc,1511658000.5\n7,,1511658003\n"
        "9,100\n7,101,yesterday\n8,102,2017-11-26T01:00:05\n"
    )
    bad = quiet()
    log = read_log([path], ReadAs(), bad)
    assert log.sessions.tolist() == [8, 7, 8]
    assert log.items.tolist() == [item_key("abc"), 100, 102]
    assert log.times_ms.tolist() == [1511658000500, 1511658002000, 1511658005000]
    assert sorted(bad.first) == [
        "log.csv line 4: item_id expected 1 to 256 bytes, got nothing",
        "log.csv line 5: expected 3 columns, got 2: '9,100'",
        "log.csv line 6: timestamp_s expected a time before 2100 (a number of s, ISO 8601; see "
        "--time-unit and --time-format), got 'yesterday'",
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
    log = read_log([path], ReadAs(Names(session="s", item="i", time="t")), quiet())
    assert (log.sessions.tolist(), log.items.tolist()) == ([1, 1], [20, 21])
    assert log.times_ms.tolist() == [1_600_000_000_000, 1_600_000_001_000]


def test_missing_column_is_named_with_what_there_is(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("a,item_id,time\n1,2,3\n")
    with pytest.raises(
        ClickFileError, match=r"for the user, got columns \['a', 'item_id', 'time'\]"
    ):
        read_log([path], ReadAs(), quiet())
    with pytest.raises(ClickFileError, match=r"--item expected one of the columns .*'thing'"):
        read_log([path], ReadAs(Names(session="a", item="thing")), quiet())


def test_json_lines_with_integers_and_strings(tmp_path: Path) -> None:
    train, test = tmp_path / "train.jsonl.gz", tmp_path / "test.jsonl"
    train.write_bytes(gzip.compress(b'[5, "5", "x"]\n{"no": 1}\n[]\nnot json\n[true]\n[7]\n'))
    bad = quiet()
    log = read_log([train], ReadAs(), bad)
    assert log.sessions.tolist() == [1, 1, 1, 6]
    assert log.times_ms.tolist() == [0, 0, 0, 0]
    assert log.items.tolist() == [5, 5, item_key("x"), 7]
    assert [text.split(":")[0] for text in bad.first] == [
        f"train.jsonl.gz line {line}"
        for line in (2, 4, 5)  # and 3 as 2
    ]
    lines = [{"prefix": [1, 2], "target": 3}, {"prefix": [], "target": "x"}, {"prefix": 1}]
    test.write_text("\n".join(map(json.dumps, lines)))
    found = read_questions([test], bad)
    assert (found.items.tolist(), found.lengths.tolist()) == ([1, 2], [2, 0])
    assert found.targets.tolist() == [3, item_key("x")]
    assert bad.count == 5
