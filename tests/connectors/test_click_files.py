"""Files of clicks, good and bad, by whatever names."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from streamrec.connectors.click_files.cells import Sample
from streamrec.connectors.click_files.forms import FileForm
from streamrec.connectors.click_files.meaning import Meaning
from streamrec.connectors.click_files.names import Names, name_columns
from streamrec.connectors.click_files.rejecting import ClickFileError
from streamrec.connectors.click_files.times import TimeForm
from tests.connectors.click_files import column, read, written

T0 = 1_511_658_000  # seconds


def named(columns: list[str], given: Names) -> Names:
    """By name alone, as of a file with a header and no row."""
    return name_columns(Sample({name: [] for name in columns}), given, lambda *_: 2)[0]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (
            ["user_id", "item_id", "category_id", "behavior", "timestamp_s"],
            {"user": "user_id", "item": "item_id", "time": None, "type": "behavior"},
        ),
        (
            ["SessionId", "ItemId", "Time"],
            {"user": "SessionId", "session": "SessionId", "item": "ItemId", "time": "Time"},
        ),
        (
            ["timestamp", "visitorid", "event", "itemid", "transactionid"],
            {"user": "visitorid", "item": "itemid", "time": "timestamp", "type": "event"},
        ),
        (
            ["event_time", "event_type", "product_id", "category_id", "price", "user_id",
             "user_session"],
            {"user": "user_id", "item": "product_id", "time": "event_time", "price": "price",
             "session": "user_session", "category": "category_id"},
        ),
    ],
)  # fmt: skip
def test_common_names_are_found(names: list[str], expected: dict[str, str | None]) -> None:
    given = Names(time="timestamp_s") if "timestamp_s" in names else Names()
    found = named(names, given)
    for role, name in expected.items():
        assert getattr(found, role) == (name or getattr(given, role))


def test_missing_or_wrong_names_are_said() -> None:
    with pytest.raises(ClickFileError, match=r"for the item, got columns .*'time'.*--item"):
        named(["user", "time"], Names())
    with pytest.raises(ClickFileError, match="--user expected one of the columns"):
        named(["user", "item", "time"], Names(user="usr"))


def test_bad_rows_are_named_by_line_and_the_rest_goes_on(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        b"user_id,item_id,behavior,timestamp,price\n"
        b"u1,i1,pv,1511658000,1.5\n"
        b"u2,i1,pv\n"
        b",i3,pv,1511658000,\n"
        b"\n"
        b"u4,\xff\xfe,pv,1511658000,1\n"
        b"u5,i5,pv,2017-11-26T01:02:03Z,2\n"
        b"u6,i6,buy,yesterday,3\n"
        b"u7,i7,buy,1511658000,-3\n"
        b'"u8","i,8",fav,1511658001.5,\n',
    )
    clicks = read(path)
    assert [(r.row, r.message.split(",")[0]) for r in clicks.rejected] == [
        (3, "expected 5 columns"),
        (4, "user_id expected 1 to 256 bytes"),
        (5, "user_id expected 1 to 256 bytes"),
        (6, "item_id expected UTF-8 (see --encoding)"),
        (8, "timestamp expected a time before 2100 (a number from 1990 on"),
    ]
    assert clicks.unread == [(9, "price", "price expected a price >= 0, got '-3'")]
    assert column(clicks, "user_id") == ["u1", "u5", "u7", "u8"]
    assert column(clicks, "item_id") == ["i1", "i5", "i7", "i,8"]
    assert column(clicks, "event_type") == [0, 0, 3, 2]
    assert column(clicks, "timestamp") == [
        *(T0 * 1000, 1_511_658_123_000, T0 * 1000, T0 * 1000 + 1500),
    ]
    assert column(clicks, "price_cents") == [150, 200, None, None]
    assert column(clicks, "session_id") == [None] * 4


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_what_a_click_can_do_without_costs_no_click(tmp_path: Path, form: str) -> None:
    rows: list[dict[str, Any]] = [
        {"user": "u", "item": f"i{n}", "time": T0 + n, "price": str(n), "category": "c"}
        for n in range(6)
    ]
    rows[1]["price"] = "1,50 EUR"
    rows[2]["category"] = "two\nlines"
    rows[3] |= {"price": "free", "time": None}  # is no click anyway
    rows[4]["price"] = ""
    path = tmp_path / f"log.{form}"
    if form == "csv":
        frame = [",".join(f'"{"" if v is None else v}"' for v in row.values()) for row in rows]
        path.write_text("\n".join([",".join(rows[0]), *frame]) + "\n")
    elif form == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        pq.write_table(pa.Table.from_pylist(rows), path)
    first = 2 if form == "csv" else 1
    clicks = read(path)
    assert [row.row for row in clicks.rejected] == [first + 3]
    assert clicks.unread == [
        (first + 1, "price", "price expected a price >= 0, got '1,50 EUR'"),
        (first + 2, "category", "category expected one line (is a quote not closed?), got "
         "'two\\nlines'"),
    ]  # fmt: skip
    assert column(clicks, "price_cents") == [0, None, 200, None, 500]
    assert column(clicks, "category_id") == ["c", "c", None, "c", "c"]
    strict = read(path, meaning=Meaning(strict=True))
    assert [row.row for row in strict.rejected] == [first + 1, first + 2, first + 3]
    assert (column(strict, "price_cents"), strict.unread) == ([0, None, 500], [])


@pytest.mark.parametrize("field", ["price", "category"])
@pytest.mark.parametrize("value", [{"amount": 1}, [1], True, "\ud800"])
def test_json_that_is_no_price_or_category_costs_no_click(
    tmp_path: Path, field: str, value: Any
) -> None:
    good = {"user": "u", "item": "i", "time": T0, "price": 1, "category": "c"}
    # Behind the first rows, by which a column is taken.
    rows = [good] * 200 + [{**good, field: value}, {**good, field: value, "time": None}]
    path = written(tmp_path, "".join(json.dumps(row) + "\n" for row in rows), "log.jsonl")
    clicks = read(path)
    assert (len(clicks), [row.row for row in clicks.rejected]) == (201, [202])
    assert [(row, name) for row, name, _ in clicks.unread] == [(201, field)]
    name = {"price": "price_cents", "category": "category_id"}[field]
    assert column(clicks, name)[199:] == [{"price": 100, "category": "c"}[field], None]
    strict = read(path, meaning=Meaning(strict=True))
    assert (len(strict), [row.row for row in strict.rejected]) == (200, [201, 202])


def test_parquet_bytes_that_are_no_category_cost_no_click(tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    table = {"user": ["u", "v"], "item": ["i", "j"], "time": [T0, T0], "category": [b"c", b"\xff"]}
    pq.write_table(pa.table(table), path)
    clicks = read(path)
    assert (column(clicks, "category_id"), clicks.rejected) == (["c", None], [])
    assert clicks.unread == [(2, "category", r"category expected UTF-8, got b'\xff'")]
    assert len(read(path, meaning=Meaning(strict=True))) == 1


def test_empty_lines_before_the_header_are_passed_over(tmp_path: Path) -> None:
    path = written(tmp_path, f"\n \r\n\nuser;item;time\nu;i;{T0}\nv;j\n")
    clicks = read(path)
    assert column(clicks, "item_id") == ["i"]
    assert [row.row for row in clicks.rejected] == [6]
    named = written(tmp_path, f"\nu,i,{T0}\nu,j\n", "clicks.csv")
    clicks = read(named, form=FileForm(columns=["user", "item", "time"]))
    assert column(clicks, "item_id") == ["i"]
    assert [row.row for row in clicks.rejected] == [3]


@pytest.mark.parametrize(
    ("name", "value", "unit", "expected_ms"),
    [
        ("time", str(T0), None, T0 * 1000),
        ("time", f"{T0}.25", None, T0 * 1000 + 250),
        ("time", str(T0 * 1000 + 7), None, T0 * 1000 + 7),
        ("time", str(T0 * 10**6), None, T0 * 1000),
        ("time", str(T0 * 10**9), None, T0 * 1000),
        ("timestamp_ms", "86400000", None, 86_400_000),
        ("time", "86400000", "ms", 86_400_000),
        ("time", "2017-11-26 01:00:00", None, T0 * 1000),
        ("time", "2017-11-26T02:00:00+01:00", None, T0 * 1000),
    ],
)
def test_units_of_time(tmp_path: Path, name: str, value: str, unit: Any, expected_ms: int) -> None:
    path = written(tmp_path, f"user,item,{name}\nu,i,{value}\n")
    clicks = read(path, names=Names(time=name), meaning=Meaning(TimeForm(unit)))
    assert column(clicks, "timestamp") == [expected_ms]


def test_event_types_are_mapped_and_unknown_ones_are_counted(tmp_path: Path) -> None:
    rows = "".join(f"u,i,{T0},{kind}\n" for kind in ("pv", "Buy", "addtocart", "peek", "peek", "x"))
    path = written(tmp_path, "user,item,time,event\n" + rows)
    clicks = read(path, meaning=Meaning(event_types={"x": "favorite"}))
    assert column(clicks, "event_type") == [0, 3, 1, 4, 4, 2]
    assert clicks.unknown_types == {"peek": 2}


def test_order_of_the_file_or_of_time(tmp_path: Path) -> None:
    path = written(tmp_path, f"user,item,time\nu,b,{T0 + 1}\nu,a,{T0}\nu,c,{T0 + 1}\n")
    assert column(read(path), "item_id") == ["b", "a", "c"]
    assert column(read(path, by_time=True), "item_id") == ["a", "b", "c"]


def test_the_same_clicks_in_every_format(tmp_path: Path) -> None:
    rows = [
        {"user": f"u{n}", "item": n, "time": T0 + n, "price": n / 4, "session": f"s{n}"}
        for n in range(5)
    ]
    text = "user,item,time,price,session\n"
    text += "".join(",".join(str(v) for v in row.values()) + "\n" for row in rows)
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "log.parquet")
    paths = [
        written(tmp_path, text),
        written(tmp_path, text.replace(",", "\t"), "log.tsv"),
        written(tmp_path, text.replace(",", ";"), "semicolons.csv"),
        written(tmp_path, gzip.compress(text.encode()), "log.csv.gz"),
        written(tmp_path, lines, "log.jsonl"),
        written(tmp_path, gzip.compress(lines.encode()), "log.jsonl.gz"),
        tmp_path / "log.parquet",
    ]
    for path in paths:
        clicks = read(path)
        assert clicks.rejected == [], path
        assert column(clicks, "user_id") == ["u0", "u1", "u2", "u3", "u4"]
        assert column(clicks, "item_id") == ["0", "1", "2", "3", "4"]
        assert column(clicks, "timestamp") == [1000 * (T0 + n) for n in range(5)]
        assert column(clicks, "price_cents") == [0, 25, 50, 75, 100]
        assert column(clicks, "session_id") == ["s0", "s1", "s2", "s3", "s4"]


def test_a_file_without_header(tmp_path: Path) -> None:
    path = written(tmp_path, f"1,{T0},77,0\n2,{T0},\n", "clicks.dat")
    clicks = read(path, form=FileForm(columns=["session", "time", "item", "category"]))
    assert column(clicks, "item_id") == ["77"]
    assert column(clicks, "user_id") == column(clicks, "session_id") == ["1"]
    assert [r.row for r in clicks.rejected] == [2]


def test_lines_that_are_no_json_are_named(tmp_path: Path) -> None:
    text = '{"user": 1, "item": 2, "time": 1511658000}\nnope\n[]\n{"user": 1, "item": 3}\n'
    clicks = read(written(tmp_path, text, "log.jsonl"))
    assert len(clicks) == 1
    assert [r.row for r in clicks.rejected] == [2, 3, 4]


def test_a_file_without_any_json_is_named(tmp_path: Path) -> None:
    for text in ("nope\nnor this\n", "1\n2\n"):
        with pytest.raises(ClickFileError, match=r"log.jsonl expected JSON objects or lists, got"):
            read(written(tmp_path, text, "log.jsonl"))


def test_files_that_are_something_else_are_named(tmp_path: Path) -> None:
    with pytest.raises(ClickFileError, match="expected an ending of"):
        read(written(tmp_path, "", "clicks.xlsx"))


_DATA = Path(__file__).parents[3] / "shared" / "data"


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("taobao_userbehavior_2h.csv", 96_168),
        ("yoochoose_100k_train.tsv", 70_278),
        ("yoochoose_100k_test.tsv", 13_568),
    ],
)
def test_published_logs_are_read_whole(name: str, rows: int) -> None:
    path = _DATA / name
    if not path.exists():
        pytest.skip(f"{name} is not redistributed with the project")
    clicks = read(path, by_time=True)
    assert (len(clicks), clicks.rejected, clicks.unknown_types) == (rows, [], {})
    times = column(clicks, "timestamp")
    assert times == sorted(times)
