"""Each command that reads, with each damage of what it reads: one line, and never a traceback."""

import gzip
import io
import json
import zipfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from streamrec.connectors.click_files.rejecting import Rejected
from streamrec.program.rejected_rows import RejectedRows
from tests.program.conftest import Answer, Shell

T0 = 1_767_225_600
HEADER = "user_id,item_id,event_type,timestamp,price\n"
GOOD = "".join(f"u{n % 3},i{n % 5},view,{T0 + n},1.5\n" for n in range(40))
CSV = HEADER + GOOD
JSON = [{"user_id": f"u{n % 3}", "item_id": f"i{n % 5}", "timestamp": T0 + n} for n in range(40)]


def parquet(**columns: object) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out)
    return out.getvalue()


def packed(content: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("log.csv", content)
        file.writestr("readme.txt", "hello")
    return out.getvalue()


def lines(*records: object) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


@dataclass(frozen=True)
class Damage:
    """A file, and what is said of it. With `reads` the good rows are taken, and status is 0."""

    name: str
    content: str | bytes
    said: str
    reads: bool = False
    status: int = 1
    imports_nothing: bool = False  # status 0 for `import`, which has nothing to do
    arguments: tuple[str, ...] = ()


GZ = gzip.compress(CSV.encode() * 50, mtime=0)
IDS = [f"u{n % 3}" for n in range(40)]
TIMES = [T0 + n for n in range(40)]

DAMAGES = [
    Damage("only-header.csv", HEADER, "no rows", imports_nothing=True),
    Damage("header-without-end.csv", HEADER.strip(), "no rows", imports_nothing=True),
    Damage("empty.csv", "", "no rows", imports_nothing=True),
    Damage("blank-lines.csv", "\n\n\n", "no rows", imports_nothing=True),
    Damage("empty.jsonl", "", "no rows", imports_nothing=True),
    Damage("empty.json", "[]", "no rows", imports_nothing=True),
    Damage("all-ragged.csv", HEADER + "u1,i1\n" * 5, "line 2: expected 5 columns, got 2: 'u1,i1'"),
    Damage("one-ragged.csv", CSV + "u1\n", "line 42: expected 5 columns, got 1: 'u1'", True),
    Damage(
        "ragged-and-no-text.csv",
        CSV.encode() + b"u1,\xff\n",
        r"line 42: expected 5 columns, got 2: b'u1,\xff'",
        True,
    ),
    Damage(
        "surplus.csv", CSV.replace("1.5\n", "1.5,\n"), "the empty last field is left out", True
    ),
    Damage(
        "no-text-in-a-price.csv",
        CSV.encode() + b"u1,i1,view,1767225600,10\xa4\n",
        r"line 42: price expected a price >= 0, got b'10\xa4'",
        True,
    ),
    Damage(
        "no-text-in-an-id.csv",
        CSV.encode() + b"u\xe9,i1,view,1767225600,1\n",
        r"line 42: user_id expected UTF-8 (see --encoding), got b'u\xe9'",
        True,
    ),
    Damage(
        "no-text-in-a-time.csv",
        CSV.encode() + b"u1,i1,view,17672\xa025600,1\n",
        "line 42: timestamp expected a time before 2100",
        True,
    ),
    Damage("carriage-returns.csv", CSV.replace("\n", "\r"), "columns: ", True),
    Damage("nul.csv", CSV + "u\0,i,view,1767225600,\n", "columns: ", True),
    Damage("utf-16.csv", CSV.encode("utf-16"), "columns: ", True),
    Damage(
        "quote.csv", CSV + '"u1,i1,view\n' + "x,y,z\n" * 200_000, "is a quote not closed?"
    ),
    Damage("two.csv", HEADER.replace("price", "user_id") + GOOD, "got 'user_id' again", status=2),
    Damage(
        "two-characters.csv",
        CSV.replace(",", "::"),
        "columns: ",
        True,
        arguments=("--delimiter", "::"),
    ),
    Damage(
        "delimiter.csv", CSV, "--delimiter expected", status=2, arguments=("--delimiter", '"')
    ),
    Damage("bytes.csv", bytes(range(256)) * 300, "expected", status=2),
    Damage("bytes.bin", bytes(range(256)) * 300, "say what it is by --format", status=2),
    Damage("cut.csv.gz", GZ[: len(GZ) // 2], "cut.csv.gz: Compressed file ended"),
    Damage("torn.csv.gz", GZ[:40] + b"\xff" * 40 + GZ[80:], "torn.csv.gz: "),
    Damage("torn.zip", packed(CSV)[:-30], "torn.zip: File is not a zip file"),
    Damage("several.zip", packed(CSV), "name one as several.zip:FILE", status=2),
    Damage("torn.zst", b"\x28\xb5\x2f\xfd" + b"\xff" * 60, "torn.zst: "),
    Damage("lone-surrogate.jsonl", lines(*JSON, {**JSON[0], "user_id": "\ud800x"}),
           r'line 41: user_id expected text, got half a character: "\ud800x"', True),
    Damage("object-id.jsonl", lines(*JSON, {**JSON[0], "user_id": {"id": 1}}),
           'line 41: user_id expected a string or a whole number, got {"id": 1}', True),
    Damage("list-id.jsonl", lines(*JSON, {**JSON[0], "item_id": ["a"]}),
           'line 41: item_id expected a string or a whole number, got ["a"]', True),
    Damage("bool-id.jsonl", lines(*JSON, {**JSON[0], "user_id": True}),
           "line 41: user_id expected a string or a whole number, got true", True),
    Damage("nan-id.jsonl", lines(*JSON, {**JSON[0], "item_id": float("nan")}),
           "line 41: item_id expected a string or a whole number, got NaN", True),
    Damage("twice.jsonl", lines(*JSON) + '{"user_id": 1, "user_id": 2}\n',
           "line 41: expected each field once, got 'user_id' again", True),
    Damage("deep.jsonl", lines(*JSON) + "[" * 100_000 + "\n",
           "line 41: expected one JSON value, got '[[[", True),
    Damage("no-text.jsonl", lines(*JSON).encode() + b'{"user_id": "\xff"}\n',
           "line 41: expected one JSON value, got ", True),
    Damage("cut.json", json.dumps(JSON)[:-200], "value 37 expected JSON"),
    Damage("scalars.json", "[1, 2, 3]", "--start", status=2),
    Damage("no-rows.parquet", parquet(user_id=pa.array([], pa.string()),
           item_id=pa.array([], pa.string()), timestamp=pa.array([], pa.int64())),
           "no rows", imports_nothing=True),
    Damage("bad-id.parquet", parquet(user_id=[b"\xff", *(i.encode() for i in IDS[1:])],
           item_id=IDS, timestamp=TIMES), r"line 1: user_id expected UTF-8, got b'\xff'", True),
    Damage("float-id.parquet", parquet(user_id=[1.5] + [1.0] * 39, item_id=IDS,
           timestamp=TIMES), "line 1: user_id expected a string or a whole number, got 1.5", True),
    Damage("bool-id.parquet", parquet(user_id=[True] * 40, item_id=IDS, timestamp=TIMES),
           "expected a column for the user", status=2),
    Damage("cut.parquet", parquet(user_id=IDS, item_id=IDS, timestamp=TIMES)[:-200],
           "cut.parquet: "),
    Damage("torn.parquet", b"PAR1" + b"\0" * 100 + b"PAR1", "torn.parquet: "),
    Damage("a-folder", "", "expected files in the folder, got none"),
    Damage("missing.csv", "", "which does not exist", status=2),
]  # fmt: skip


def written(damage: Damage, folder: Path) -> Path:
    path = folder / damage.name
    if damage.name == "a-folder":
        path.mkdir()
    elif damage.name != "missing.csv":
        text = damage.content
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def run_import(shell: Shell, path: Path, *arguments: str) -> Answer:
    shell("topics", "create")
    return shell("import", str(path), *arguments)


def run_train(shell: Shell, path: Path, *arguments: str) -> Answer:
    out = str(path.parent / "model")
    return shell("train", str(path), "--budget", "0.01", "--out", out, *arguments)


def run_evaluate(shell: Shell, path: Path, *arguments: str) -> Answer:
    # Arguments hold for both files.
    good = path if arguments else path.parent / "good.csv"
    good.write_text(path.read_text() if arguments else CSV)
    return shell(
        *("evaluate", "--train", str(good), "--test", str(path), "--models", "popular"),
        *("--budget", "0.01", *arguments),
    )


COMMANDS: dict[str, Callable[..., Answer]] = {
    "import": run_import,
    "train": run_train,
    "evaluate": run_evaluate,
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.name)
def test_damage_is_told_in_one_line(
    command: str, damage: Damage, embedded_shell: Shell, tmp_path: Path
) -> None:
    # A log of sessions, as these arrays are, needs no times to be judged by, but users who go on.
    session_log = command == "evaluate" and damage.name == "scalars.json"
    path = written(damage, tmp_path)
    if session_log:
        damage = Damage(damage.name, "", "no times", reads=True)
    answer = COMMANDS[command](embedded_shell, path, *damage.arguments)
    assert "Traceback" not in answer.err
    ours = [line for line in answer.err.splitlines() if line.startswith("streamrec: ")]
    if damage.reads or (damage.imports_nothing and command == "import"):
        assert (answer.status, ours) == (0, [])
        assert damage.said in " ".join(answer.err.split())
        return
    assert (answer.status, len(ours)) == (damage.status, 1)
    assert answer.err.splitlines()[-1] == ours[0]
    said = "expected clicks, got none" if damage.imports_nothing else damage.said
    assert said in answer.err


@pytest.mark.parametrize("where", ["before", "behind"])
@pytest.mark.parametrize("command", COMMANDS)
def test_debug_shows_where_it_came_from(
    command: str, where: str, embedded_shell: Shell, tmp_path: Path
) -> None:
    path = tmp_path / "torn.zip"
    path.write_bytes(packed(CSV)[:-30])

    def shell(*arguments: str) -> Answer:
        given = ("--debug", *arguments) if where == "before" else (*arguments, "--debug")
        return embedded_shell(*given)

    answer = COMMANDS[command](shell, path)
    assert answer.status == 1
    assert "Traceback (most recent call last)" in answer.err
    assert "BadZipFile" in answer.err
    assert answer.err.splitlines()[-1].startswith(f"streamrec: {command}: torn.zip: ")


def test_what_was_sent_before_a_damage_is_told(embedded_shell: Shell, tmp_path: Path) -> None:
    embedded_shell("topics", "create")
    path = tmp_path / "cut.json"
    path.write_text(json.dumps(JSON * 500)[:-200])
    answer = embedded_shell("import", str(path), "--as-is")
    assert answer.status == 1
    before, last = answer.err.splitlines()[-2:]
    assert before.startswith("sent 16,384 clicks to 'clicks' before what follows")
    assert last.startswith("streamrec: import: cut.json: value 19997 expected JSON")
    assert len(embedded_shell("receive", "clicks").lines) == 16_384
    # In order of time nothing is sent before all is read.
    assert "sent" not in embedded_shell("import", str(path)).err
    assert len(embedded_shell("receive", "clicks").lines) == 16_384


def test_a_topic_that_is_missing_is_told_before_a_file_is_read(
    embedded_shell: Shell, tmp_path: Path
) -> None:
    path = tmp_path / "log.csv"
    path.write_text(CSV + "u1\n")
    answer = embedded_shell("import", str(path))
    assert answer.status == 1
    assert "create it with `topics create`" in answer.err.splitlines()[-1]
    assert "line 42" not in answer.err
    path.write_text(HEADER)
    assert embedded_shell("import", str(path)).err.splitlines()[-1] == "no rows: nothing to import"


def test_many_rejected_rows_and_types_are_counted(embedded_shell: Shell, tmp_path: Path) -> None:
    embedded_shell("topics", "create")
    path, rejects = tmp_path / "log.csv", tmp_path / "rejects.txt"
    rows = "".join(f"u,i,t{n},{T0},1\n" for n in range(30))
    path.write_text(CSV + "u1\n" * 50 + rows)
    answer = embedded_shell("import", str(path), "--rejects", str(rejects))
    assert answer.status == 0
    assert "line 42: expected 5 columns, got 1: 'u1'" in answer.err.splitlines()
    assert "50 rows rejected, the first line 42: expected 5 columns" in answer.err.splitlines()
    assert answer.err.count("expected 5 columns") == 2
    assert len(rejects.read_text().splitlines()) == 50
    assert answer.err.count("taken as other in 1 rows") == 20
    assert "and other event types in 10 rows" in answer.err
    assert "imported 70 clicks" in answer.err


@pytest.mark.parametrize("command", COMMANDS)
def test_rows_that_are_rejected_are_summed_by_reason(
    command: str, embedded_shell: Shell, tmp_path: Path
) -> None:
    path = tmp_path / "log.csv"
    bad = "".join(f"u,i,view,t{n},1\n" for n in range(7)) + ",i,view,1767225600,1\n"
    path.write_text(CSV + bad + "".join(f"u,i,view,{T0},n{n}\n" for n in range(3)))
    answer = COMMANDS[command](embedded_shell, path)
    where = "log.csv line" if command == "evaluate" else "line"
    listed = "; --rejects FILE lists all" if command == "import" else ""
    said = answer.err.splitlines()
    assert [line for line in said if "got 't" in line] == [
        f"{where} 42: timestamp expected a time before 2100 (a number from 1990 on, ISO 8601; see "
        "--time-unit and --time-format), got 't0'"
    ]
    assert (
        f"7 rows rejected, the first {where} 42: timestamp expected a time before 2100 (a number "
        f"from 1990 on, ISO 8601; see --time-unit and --time-format){listed}"
    ) in said
    assert sum("user_id expected 1 to 256 bytes" in line for line in said) == 1
    assert (
        "price could not be read in 3 rows, which are kept without it; --strict rejects them; "
        f"the first {where} 50: price expected a price >= 0, got 'n0'"
    ) in said
    strict = COMMANDS[command](embedded_shell, path, "--strict")
    assert strict.status == 0
    assert f"3 rows rejected, the first {where} 50: price expected" in strict.err


def test_reasons_beyond_the_first_twenty_are_counted() -> None:
    said: list[str] = []
    with closing(RejectedRows(False, say=said.append)) as rows:
        rows.add("log", [Rejected(n, f"c{n % 25} expected a name, got {n!r}") for n in range(50)])
    assert [line for line in said if "got" in line] == [
        f"line {n}: c{n} expected a name, got {n}" for n in range(20)
    ]
    assert said[20] == "2 rows rejected, the first line 0: c0 expected a name"
    assert said[-1] == "and 10 more rows rejected for other reasons"
    assert (rows.count, len(said)) == (50, 41)
