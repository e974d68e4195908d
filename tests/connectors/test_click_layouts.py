"""Several files in one call: each is read by its own layout, or refused by its name."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from streamrec.connectors.click_files.names import Names
from streamrec.connectors.click_files.reading import ClickFiles, ReadAs
from streamrec.connectors.click_files.rejecting import UnclearError
from tests.connectors.click_files import column, guesses, messages, read, written

T0 = 1_767_225_600
CSV = f"user_id,item_id,timestamp,price,event_type\nu1,a,{T0},1.5,view\nu2,b,{T0 + 1},2,buy\n"


def records(tmp_path: Path, name: str, *rows: dict[str, Any]) -> Path:
    return written(tmp_path, "".join(json.dumps(row) + "\n" for row in rows), name)


def test_files_of_other_layouts_are_read_by_their_own(tmp_path: Path) -> None:
    first = written(tmp_path, CSV, "first.csv")
    second = written(tmp_path, f"ts;visitorid;itemid\n{T0 + 2};u3;c\n", "second.csv")
    third = records(
        tmp_path,
        "third.jsonl",
        {"uid": 4, "properties": {"product_id": "d", "price": 3}, "time": T0 + 3, "action": "buy"},
    )
    fourth = tmp_path / "fourth.parquet"
    pq.write_table(pa.table({"customer_id": [5], "sku": ["e"], "date": [T0 + 4]}), fourth)
    clicks = read(first, second, third, fourth)
    assert clicks.rejected == []
    assert column(clicks, "user_id") == ["u1", "u2", "u3", "4", "5"]
    assert column(clicks, "item_id") == ["a", "b", "c", "d", "e"]
    assert column(clicks, "timestamp") == [1000 * (T0 + n) for n in range(5)]
    assert column(clicks, "price_cents") == [150, 200, None, 300, None]
    assert column(clicks, "event_type") == [0, 3, 0, 3, 0]
    said = guesses(first, second, third, fourth)
    for line in (
        "first.csv: columns: user from user_id,",
        "second.csv: columns: user from visitorid, item from itemid, time from ts",
        "third.jsonl: columns: user from uid, item from properties.product_id, time from time",
        "fourth.parquet: columns: user from customer_id, item from sku, time from date",
    ):
        assert sum(each.startswith(line) for each in said) == 1


def test_files_of_one_layout_are_told_of_once(tmp_path: Path) -> None:
    paths = [written(tmp_path, CSV, f"{n}.csv") for n in range(3)]
    (said,) = guesses(*paths)
    assert said.startswith("columns: user from user_id")
    header = written(tmp_path, CSV.partition("\n")[0], "header.csv")
    assert guesses(header, *paths) == guesses(*paths, header) == [said]
    other = written(tmp_path, "a,b\n", "nothing-but-other-names.csv")
    assert column(read(other, *paths), "item_id") == ["a", "b"] * 3


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("b.csv", f"u3,c,{T0},1,view\nu4,d,{T0},1,view\n",
         r"^b.csv: expected a column for the user, got columns \['u3', .*name all columns"),
        ("b.csv", "user_id,item_id\nu3,c\n", r"^b.csv: expected a column for the time, got"),
        ("b.jsonl", f'{{"who": "u3", "item_id": "c", "timestamp": {T0}}}\n',
         r"^b.jsonl: expected a column for the user, got columns \['who', "),
        ("b.csv", "user_id,item_id,timestamp\nu3,c,01/02/2026\n",
         r"^b.csv: timestamp expected times that can be read in one way"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("times", [True, False])
def test_a_file_that_cannot_be_understood_is_named_before_any_is_read(
    tmp_path: Path, name: str, text: str, said: str, times: bool
) -> None:
    paths = [written(tmp_path, CSV, "a.csv"), written(tmp_path, text, name)]
    with pytest.raises(UnclearError, match=said):
        ClickFiles(paths, ReadAs(), times=times)


def test_a_column_that_was_named_has_to_be_in_each_file(tmp_path: Path) -> None:
    paths = [written(tmp_path, CSV, "a.csv"), written(tmp_path, f"u,item,t\nx,c,{T0}\n", "b.csv")]
    with pytest.raises(UnclearError, match=r"^b.csv: --user expected one of the columns"):
        ClickFiles(paths, ReadAs(Names(user="user_id")))


def test_times_in_some_files_only_are_refused(tmp_path: Path) -> None:
    timed = written(tmp_path, CSV, "a.csv")
    bare = written(tmp_path, "user_id,item_id\nu3,c\n", "b.csv")
    with pytest.raises(UnclearError, match=r"^a.csv: expected no times, as in the files before"):
        ClickFiles([bare, timed], ReadAs(), times=False)


def test_a_part_with_gaps_is_read_as_the_log_it_belongs_to(tmp_path: Path) -> None:
    """By its own first rows it would have no price, and all its clicks would be views."""
    header, first, _ = CSV.split("\n", 2)
    second = f"{header}\n" + f"u3,c,{T0},,\n" * 200 + f"u3,d,{T0},7,buy\n"
    paths = [written(tmp_path, f"{header}\n{first}\n", "1.csv"), written(tmp_path, second, "2.csv")]
    clicks = read(*paths)
    assert column(clicks, "price_cents")[-2:] == [None, 700]
    assert column(clicks, "event_type")[-1] == 3
    assert len(guesses(*paths)) == 1


def test_what_seldom_stands_in_json_may_be_missing_in_the_first_rows_of_a_part(
    tmp_path: Path,
) -> None:
    row = {"user": "u", "item": "i", "time": T0}
    paths = [
        records(tmp_path, "1.jsonl", {**row, "price": 1}),
        records(tmp_path, "2.jsonl", *[{**row, "colour": "red"}] * 200, {**row, "price": 2}),
    ]
    clicks = read(*paths)
    assert column(clicks, "price_cents") == [100, *[None] * 200, 200]
    assert messages(clicks) == {}


def test_the_day_is_found_of_each_file_and_of_a_part_by_the_log(tmp_path: Path) -> None:
    head = "user,item,time\n"
    first = written(tmp_path, f"{head}u,a,13/02/2026\n", "1.csv")
    part = written(tmp_path, f"{head}u,b,01/03/2026\n", "2.csv")
    other = written(tmp_path, f"{head}u,c,02/14/2026\n", "3.csv")
    day_ms = 86_400_000
    start_ms = 1_767_225_600_000  # the first of January
    clicks = read(first, part, other)
    days = [(each - start_ms) // day_ms for each in column(clicks, "timestamp")]
    assert days == [31 + 12, 31 + 28, 31 + 13]
    said = [line for line in guesses(first, part, other) if "number is the day" in line]
    assert said == [
        "1.csv: time: the first number is the day",
        "3.csv: time: the second number is the day",
    ]
