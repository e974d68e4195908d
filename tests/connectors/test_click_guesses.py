"""What is guessed of a file, only where its first rows leave no doubt, and never silently."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from streamrec.connectors.click_files.forms import FileForm
from streamrec.connectors.click_files.meaning import Meaning
from streamrec.connectors.click_files.names import Names
from streamrec.connectors.click_files.reading import ClickFiles, ReadAs
from streamrec.connectors.click_files.rejecting import UnclearError
from tests.connectors.click_files import column, guesses, messages, read, written

T0 = 1_767_225_600


def records(tmp_path: Path, *rows: dict[str, Any], name: str = "log.jsonl") -> Path:
    full = [{"user": "u", "item": "i", "time": T0, **row} for row in rows]
    return written(tmp_path, "".join(json.dumps(row) + "\n" for row in full), name)


@pytest.mark.parametrize(
    ("value", "taken"),
    [
        ("a b", "a b"), ("007", "007"), (7, "7"), (10**20, str(10**20)), (7.0, "7"),
        ("7.0", "7.0"), ("true", "true"), (-3, "-3"), ("ü", "ü"), (2.0**52, str(2**52)),
    ],
)  # fmt: skip
def test_an_id_is_a_string_or_a_whole_number(tmp_path: Path, value: Any, taken: str) -> None:
    clicks = read(records(tmp_path, {"item": "other"}, {"item": value}))
    assert column(clicks, "item_id") == ["other", taken]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({"id": 1}, '{"id": 1}'), (["a"], '["a"]'), (True, "true"), (float("nan"), "NaN"),
        (1.5, "1.5"), (1e300, "1e+300"), (float("inf"), "Infinity"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("role", ["user", "item", "session"])
def test_what_is_no_id_is_named_by_line(tmp_path: Path, role: str, value: Any, shown: str) -> None:
    clicks = read(records(tmp_path, {"session": "s"}, {"session": "s", role: value}))
    assert len(clicks) == (1 if role != "session" else len(clicks))
    if role != "session":
        said = f"{role} expected a string or a whole number, got {shown}"
        assert messages(clicks) == {2: said}
    else:  # such a column is no session, and is not taken for one
        assert column(clicks, "session_id") == [None, None]


@pytest.mark.parametrize(
    "word", ["NA", "null", "NULL", "None", "nan", "NaN", "N/A", r"\N", "undefined", "  "]
)
@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_words_for_nothing_do_not_become_one_user(tmp_path: Path, word: str, form: str) -> None:
    if form == "csv":
        path = written(tmp_path, f"user,item,time\nu,i,{T0}\n{word},i,{T0}\nu,i,{T0}\n")
    else:
        path = records(tmp_path, {}, {"user": word}, {})
    clicks = read(path)
    assert column(clicks, "user_id") == ["u", "u"]
    (said,) = messages(clicks).values()
    assert said.startswith(f"user expected an id, got {word!r}, which is taken for nothing")


def test_words_for_nothing_can_be_ids_where_an_option_says_so(tmp_path: Path) -> None:
    path = written(tmp_path, f"user,item,time\nNA,i,{T0}\nnil,i,{T0}\nempty,i,{T0}\n")
    clicks = read(path, meaning=Meaning(nothing=["empty"]))
    assert column(clicks, "user_id") == ["NA", "nil"]


def test_whole_numbers_with_a_fraction_of_nothing_lose_it_where_all_have_one(
    tmp_path: Path,
) -> None:
    """pandas writes a column of whole numbers with gaps as 123.0."""
    rows = "".join(f"{n}.0,{n}.0,{T0}\n" for n in range(300)) + f"300.0,x,{T0}\n,1.0,{T0}\n"
    path = written(tmp_path, "user,item,time\n" + rows)
    clicks = read(path)
    assert column(clicks, "user_id") == [str(n) for n in range(300)]
    assert messages(clicks) == {
        302: "item expected a whole number, as in the first rows, got 'x'",
        303: "user expected 1 to 256 bytes, got nothing",
    }
    assert "user from user ('0.0' is 0)" in guesses(path)[0]
    mixed = written(tmp_path, f"user,item,time\n1.0,a,{T0}\n2,b,{T0}\n", "mixed.csv")
    assert column(read(mixed), "user_id") == ["1.0", "2"]


def test_parquet_floats_are_ids_where_they_are_whole(tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    users = pa.array([1234567.0, None, 1.5, 3.0])
    pq.write_table(pa.table({"user": users, "item": ["a"] * 4, "time": [T0] * 4}), path)
    clicks = read(path)
    assert column(clicks, "user_id") == ["1234567", "3"]
    assert messages(clicks) == {
        2: "user expected 1 to 256 bytes, got nothing",
        3: "user expected a string or a whole number, got 1.5",
    }


@pytest.mark.parametrize(
    "users",
    [pa.array([True, False]), pa.array([[1], [2]]), pa.array([{"id": 1}, {"id": 2}])],
    ids=["booleans", "lists", "objects"],
)
def test_parquet_columns_that_hold_no_ids_are_not_taken(tmp_path: Path, users: Any) -> None:
    path = tmp_path / "log.parquet"
    pq.write_table(pa.table({"user": users, "item": ["a", "b"], "time": [T0, T0]}), path)
    with pytest.raises(UnclearError, match="expected a column for the user"):
        read(path)
    if pa.types.is_boolean(users.type):
        with pytest.raises(
            UnclearError, match=r"user expected strings or whole numbers, got .*bool"
        ):
            read(path, names=Names(user="user"))


def test_a_column_that_holds_no_event_type_is_not_taken_for_it(tmp_path: Path) -> None:
    path = written(tmp_path, f"user,item,time,type\nu,i,{T0},interaction\nv,i,{T0},interaction\n")
    clicks = read(path)
    assert (column(clicks, "event_type"), clicks.unknown_types) == ([0, 0], {})
    assert "type is not taken for the type: it holds 'interaction'" in guesses(path)
    given = read(path, names=Names(type="type"))
    assert (column(given, "event_type"), given.unknown_types) == ([4, 4], {"interaction": 2})
    mapped = read(path, meaning=Meaning(event_types={"interaction": "purchase"}))
    assert column(mapped, "event_type") == [3, 3]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("view_item", 0), ("add_to_cart", 1), ("remove_from_cart", 4), ("transaction", 3),
        ("Product Added", 1), ("Order Completed", 3), ("begin_checkout", 4), ("clicks", 0),
        ("carts", 1), ("orders", 3), ("PageView", 0), ("addToCart", 1), ("ADD-TO-WISHLIST", 2),
        ("purchase", 3), ("fav", 2), ("detail_view", 4),
    ],
)  # fmt: skip
def test_well_known_event_types(tmp_path: Path, name: str, expected: int) -> None:
    clicks = read(written(tmp_path, f"user,item,time,event\nu,i,{T0},{name}\n,,,view\n"))
    assert column(clicks, "event_type") == [expected]
    assert clicks.unknown_types == ({name: 1} if name == "detail_view" else {})


def test_two_columns_that_could_be_meant_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path, f"user_id,userId,item,time\nu,v,i,{T0}\n")
    with pytest.raises(UnclearError, match=r"one column for the user, got \['user_id', 'userId'\]"):
        read(path)
    assert column(read(path, names=Names(user="userId")), "user_id") == ["v"]


def test_a_column_that_stands_there_twice_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, f"user,item,item,time\nu,i,j,{T0}\n")
    with pytest.raises(UnclearError, match="expected each column once, got 'item' again"):
        read(path)
    named = FileForm(columns=["user", "item", "second", "time"])
    assert column(read(path, form=named), "item_id") == ["i"]
    other = written(tmp_path, f"user,item,x,x,time\nu,i,1,2,{T0}\n", "other.csv")
    assert column(read(other), "item_id") == ["i"]  # nobody asked for it


def test_a_user_column_that_is_mostly_empty_gives_way(tmp_path: Path) -> None:
    rows = [{"user": None, "anonymousId": f"a{n}"} for n in range(9)]
    path = records(tmp_path, *rows, {"user": "u", "anonymousId": "a9"})
    assert column(read(path), "user_id") == [f"a{n}" for n in range(10)]
    assert any(said.startswith("user is not taken for the user") for said in guesses(path))


def test_a_file_without_header_is_told_from_one_with_other_names(tmp_path: Path) -> None:
    with pytest.raises(UnclearError, match="the first line seems to hold values, name all columns"):
        read(written(tmp_path, f"1,2,{T0}\n"))
    with pytest.raises(UnclearError, match=r"--columns expected 3 names, .* got 2"):
        ClickFiles([written(tmp_path, f"1,2,{T0}\n")], ReadAs(form=FileForm(columns=["a", "b"])))


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        (f"user,item,time\nu,i,{T0},\nu,j,{T0},x\n", 3, "expected 3 columns, got 4"),
        (f"user,item,time\nu,i,{T0},\n" + f"u,j,{T0},\n" * 300 + f"u,j,{T0},x\n", 303,
         "expected nothing behind the last column, got 'x'"),
        (f"user,item,time\nu,i,{T0},\n" + f"u,j,{T0},\n" * 300 + f"u,j,{T0}\n", 303,
         "expected 3 columns, got 3"),
    ],
)  # fmt: skip
def test_rows_that_do_not_fit_a_surplus_delimiter_are_named(
    tmp_path: Path, text: str, line: int, said: str
) -> None:
    clicks = read(written(tmp_path, text))
    assert said in messages(clicks)[line]


def test_an_id_over_several_lines_is_a_quote_that_is_not_closed(tmp_path: Path) -> None:
    text = f'user,item,time\nu,"i,{T0}\nv,j"x,{T0}\nw,k,{T0}\n'
    clicks = read(written(tmp_path, text))
    assert column(clicks, "item_id") == ["k"]
    assert "is a quote not closed?" in messages(clicks)[2]


@pytest.mark.parametrize("field", ["user", "item", "time", "price", "type", "\ud800"])
def test_half_a_character_is_named_wherever_it_stands(tmp_path: Path, field: str) -> None:
    for rows in ([{field: "\ud800"}, {}], [{}, {field: "\ud800"}]):
        path = records(tmp_path, *({"price": 1, "type": "view", **row} for row in rows))
        assert len(guesses(path)) >= 1
        clicks = read(path)
        assert len(clicks) == (2 if field in ("\ud800", "price") else 1)
        assert all("got half a character" in said for said in messages(clicks).values())
        assert all("got half a character" in said for _, _, said in clicks.unread)
