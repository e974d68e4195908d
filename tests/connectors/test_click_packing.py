"""Files that are packed, nested, several, or very large: the same clicks out of all of them."""

import bz2
import gzip
import io
import json
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from streamrec.connectors.click_files.forms import FileForm
from streamrec.connectors.click_files.json_values import VALUE_BYTES_MAX
from streamrec.connectors.click_files.meaning import Meaning
from streamrec.connectors.click_files.names import Names
from streamrec.connectors.click_files.reading import ClickFiles, ReadAs
from streamrec.connectors.click_files.rejecting import ClickFileError, UnclearError
from tests.connectors.click_files import column, guesses, messages, read, written

T0 = 1_767_225_600
ROWS = [{"user": f"u{n % 7}", "item": f"i{n}", "time": T0 + n} for n in range(100)]
CSV = "user,item,time\n" + "".join(f"{r['user']},{r['item']},{r['time']}\n" for r in ROWS)
ITEMS = [row["item"] for row in ROWS]


def zstd(content: bytes) -> bytes:
    return bytes(pa.compress(content, "zstd", asbytes=True))


def zipped(content: bytes, name: str = "log.csv") -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("__MACOSX/._log.csv", "junk")
        file.writestr(name, content)
    return out.getvalue()


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zst": zstd, "zip": zipped,
}  # fmt: skip


def parquet(rows: list[dict[str, Any]]) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), out, row_group_size=33)
    return out.getvalue()


@pytest.mark.parametrize("how", PACKERS)
@pytest.mark.parametrize("form", ["csv", "jsonl", "json", "parquet"])
def test_packed_files_are_told_by_content(tmp_path: Path, how: str, form: str) -> None:
    content = {
        "csv": CSV.encode(),
        "jsonl": "".join(json.dumps(row) + "\n" for row in ROWS).encode(),
        "json": json.dumps(ROWS, indent=1).encode(),
        "parquet": parquet(ROWS),
    }[form]
    for name in (f"log.{form}.{how}", f"log.{form}"):
        path = written(tmp_path, PACKERS[how](content), name)
        if how == "zip":
            path.write_bytes(zipped(content, f"log.{form}"))
        clicks = read(path)
        assert (column(clicks, "item_id"), clicks.rejected) == (ITEMS, [])


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, zstd])
def test_packed_parts_one_after_the_other_are_one_file(
    tmp_path: Path, pack: Callable[[bytes], bytes]
) -> None:
    cut = len(CSV) // 2
    both = pack(CSV[:cut].encode()) + pack(CSV[cut:].encode())
    assert column(read(written(tmp_path, both, "log.csv")), "item_id") == ITEMS


def test_one_file_of_a_zip_file_is_named_behind_a_colon(tmp_path: Path) -> None:
    path = tmp_path / "ml.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("ml/ratings.csv", CSV)
        file.writestr("ml/movies.csv", "movieId,title\n")
    with pytest.raises(UnclearError, match=r"'ml/ratings.csv', .* name one as ml.zip:FILE"):
        read(path)
    with pytest.raises(UnclearError, match=r"expected one of \['ml/ratings.csv'"):
        read(tmp_path / "ml.zip:ratings.csv")
    assert column(read(tmp_path / "ml.zip:ml/ratings.csv"), "item_id") == ITEMS


def test_several_files_and_folders_are_read_in_order(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    (folder / "day=2").mkdir(parents=True)
    (folder / "day=1").mkdir()
    written(folder / "day=1", f"item,user,time\na,u,{T0 + 9}\n", "part-0.csv")
    written(folder / "day=2", parquet([{"user": "u", "item": "b", "time": T0}]), "part-0.parquet")
    written(folder, "", "_SUCCESS")
    written(folder / "day=2", "junk", ".part-0.crc")
    last = written(tmp_path, f"user,item,time\nu,c,{T0 + 1}\nu,,0\n", "last.csv")
    empty = written(tmp_path, "", "empty.csv")
    assert column(read(empty, folder, last), "item_id") == ["a", "b", "c"]
    assert column(read(folder, last, by_time=True), "item_id") == ["b", "c", "a"]
    batches = list(ClickFiles([folder, last], ReadAs()).batches())
    assert [(b.file, r.row) for b in batches for r in b.rejected] == [("last.csv", 3)]


@pytest.mark.parametrize("indent", [None, 2])
def test_an_array_of_objects_is_read_whole(tmp_path: Path, indent: int | None) -> None:
    rows = [*ROWS, {"user": "u", "item": "i"}]
    clicks = read(written(tmp_path, json.dumps(rows, indent=indent), "log.json"))
    assert column(clicks, "item_id") == ITEMS
    assert list(messages(clicks)) == [101]  # the element's number, from 1


def test_an_array_larger_than_what_is_read_at_once(tmp_path: Path) -> None:
    rows = [{**row, "text": "x" * 10_000} for row in ROWS * 3]
    clicks = read(written(tmp_path, json.dumps(rows), "log.json"))
    assert column(clicks, "item_id") == ITEMS * 3


def test_an_array_that_breaks_off_says_where(tmp_path: Path) -> None:
    path = written(tmp_path, json.dumps(ROWS)[:-30] + "}", "log.json")
    with pytest.raises(
        ClickFileError, match=r"^log.json: value 100 expected JSON of at most 16 MB"
    ):
        read(path)


def test_one_object_that_holds_all_events(tmp_path: Path) -> None:
    for indent in (None, 2):
        path = written(
            tmp_path, json.dumps({"export": {"events": ROWS}}, indent=indent), "log.json"
        )
        assert column(read(path), "item_id") == ITEMS
        assert "item from export.events[].item" in guesses(path)[0]


def test_paths_of_ones_own(tmp_path: Path) -> None:
    record = {
        "who": {"ids": [{"kind": "crm", "id": "u1"}, {"kind": "web", "id": "7"}]},
        "when": {"at": T0},
        "basket": [{"good": {"no": "a"}}, {"good": {"no": "b"}}, {"good": {}}],
        "with.dot": "s1",
    }
    names = Names(
        user="who.ids[kind=web].id", item="basket[].good.no", time="when.at", session="with.dot"
    )
    path = written(tmp_path, json.dumps(record), "log.json")
    for each in (path, tmp_path / "log.parquet"):
        if each.suffix == ".parquet":
            pq.write_table(pa.Table.from_pylist([record]), each)
        clicks = read(each, names=names)
        assert column(clicks, "user_id") == ["7", "7"]
        assert column(clicks, "item_id") == ["a", "b"]
        assert column(clicks, "session_id") == ["s1", "s1"]
        assert messages(clicks) == {1: "basket[].good.no expected 1 to 256 bytes, got nothing"}
    with pytest.raises(UnclearError, match="one list of events in a path"):
        read(path, names=Names(item="a[].b[]", user="who", time="when.at"))
    with pytest.raises(UnclearError, match="expected one of the columns"):
        read(path, names=Names(item="basket.nothing", user="nobody", time="when.at"))


def test_lines_that_are_sessions(tmp_path: Path) -> None:
    text = '[5, "x", 7.0]\n{"no": 1}\n[]\n\n[8, null]\n'
    path = written(tmp_path, text, "sessions.jsonl")
    clicks = read(path, path, meaning=Meaning(start_ms=T0 * 1000))
    assert column(clicks, "item_id") == ["5", "x", "7", "8"] * 2
    assert column(clicks, "user_id") == ["1", "1", "1", "5", "2-1", "2-1", "2-1", "2-5"]
    assert column(clicks, "timestamp")[:2] == [T0 * 1000, T0 * 1000 + 1000]
    assert messages(clicks) == {
        2: '[] expected a list of events, got {"no": 1}',
        3: "[] expected a list of events, got []",
        5: "[] expected 1 to 256 bytes, got nothing",
    }


def test_a_line_that_would_fill_the_memory_is_named(tmp_path: Path) -> None:
    long = json.dumps({**ROWS[0], "text": "x" * VALUE_BYTES_MAX})
    text = json.dumps(ROWS[0]) + "\n" + long + "\n" + json.dumps(ROWS[1]) + "\n"
    clicks = read(written(tmp_path, text, "log.jsonl"))
    assert column(clicks, "item_id") == ["i0", "i1"]
    assert messages(clicks) == {2: "expected a line of at most 16 MB"}


def test_encodings_are_told_by_a_mark_or_by_an_option(tmp_path: Path) -> None:
    text = f"user,item,time\nü,i,{T0}\n"
    assert column(read(written(tmp_path, text.encode("utf-8-sig"))), "user_id") == ["ü"]
    assert column(read(written(tmp_path, text.encode("utf-16"))), "user_id") == ["ü"]
    latin = written(tmp_path, text.encode("latin-1"))
    assert messages(read(latin))[2] == r"user expected UTF-8 (see --encoding), got b'\xfc'"
    assert column(read(latin, form=FileForm(encoding="latin-1")), "user_id") == ["ü"]
    lines = json.dumps({**ROWS[0], "user": "ü"}, ensure_ascii=False)
    for encoding in ("utf-16", "latin-1"):
        path = written(tmp_path, lines.encode(encoding), "log.jsonl")
        form = FileForm("jsonl", encoding=encoding)
        assert column(read(path, form=form), "user_id") == ["ü"]


def test_delimiters_of_several_characters(tmp_path: Path) -> None:
    for mark, form in (
        ("::", None),
        ("~|~", FileForm(delimiter="~|~")),
        ("¦", FileForm(delimiter="¦")),
    ):
        path = written(tmp_path, CSV.replace(",", mark) + f"u{mark}i\n")
        clicks = read(path, form=form)
        assert column(clicks, "item_id") == ITEMS
        assert messages(clicks) == {102: f"expected 3 columns, got 2: {f'u{mark}i'!r}"}


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("last", [True, False])
def test_line_ends_of_all_systems(tmp_path: Path, end: str, last: bool) -> None:
    text = CSV.replace("\n", end)
    clicks = read(written(tmp_path, text if last else text.removesuffix(end)))
    assert column(clicks, "item_id") == ITEMS
    ragged = text + f"u,i{end}u,last,{T0}{end}"
    assert list(messages(read(written(tmp_path, ragged)))) == [102]


def test_rows_keep_their_numbers_over_many_blocks(tmp_path: Path) -> None:
    """Some blocks of half a megabyte, with a row of each kind of damage in every thousand."""
    rows = [f"u{n},i{n},{T0 + n},{'x' * 40}" for n in range(60_000)]
    bad = {}
    for n in range(0, 60_000, 1_000):
        rows[n] = ["u", ",i,1,", "u,i,never,", "u,i,1,2,3"][n // 1_000 % 4]
        bad[n + 2] = True
    clicks = read(written(tmp_path, "user,item,time,text\n" + "\n".join(rows) + "\n"))
    assert sorted(messages(clicks)) == sorted(bad)
    assert len(clicks) == 60_000 - len(bad)


def test_a_file_of_rows_that_do_not_fit_ends_instead_of_filling_the_memory(tmp_path: Path) -> None:
    path = written(tmp_path, "user,item,time\n" + f"u;i;{T0}\n" * 250_000)
    with pytest.raises(ClickFileError, match=r"expected rows of 3 columns, got 200,000 others"):
        read(path, form=FileForm(delimiter=","))


@pytest.mark.parametrize("before", [0, 20_000])
def test_a_row_without_end_is_named_with_the_row_before_it(tmp_path: Path, before: int) -> None:
    text = "user,item,time\n" + f"u,i,{T0}\n" * before + '"u' + f",i,{T0}\n" * 100_000
    with pytest.raises(ClickFileError, match=r"a longer one behind line .*is a quote not closed"):
        read(written(tmp_path, text))


def test_one_string_of_parquet_that_is_no_text_costs_one_row(tmp_path: Path) -> None:
    """Parquet does not look whether its strings are UTF-8."""
    ids = [b"a", b"b\xff", *(b"c%d" % n for n in range(300))]
    strings = pa.array(ids).view(pa.string())
    flat = pa.table({"user": strings, "item": strings, "time": [T0] * len(ids)})
    events = pa.StructArray.from_arrays([strings, pa.array([T0] * len(ids))], ["item", "time"])
    nested = pa.table({"user": pa.array(["u"] * len(ids)), "click": events})
    for table, said in ((flat, "user expected UTF-8"), (nested, "expected UTF-8")):
        pq.write_table(table, tmp_path / "log.parquet")
        clicks = read(tmp_path / "log.parquet")
        assert column(clicks, "item_id") == ["a", *(f"c{n}" for n in range(300))]
        assert messages(clicks) == {2: rf"{said}, got b'b\xff'"}
