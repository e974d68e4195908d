"""Times as people write them: what is taken for what, what is refused, and what an option says."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from streamrec.connectors.click_files.meaning import Meaning
from streamrec.connectors.click_files.names import Names
from streamrec.connectors.click_files.reading import ClickFiles, ReadAs
from streamrec.connectors.click_files.rejecting import UnclearError
from streamrec.connectors.click_files.times import TimeForm
from tests.connectors.click_files import column, guesses, messages, read, written

MS = 1_569_891_723_000  # 2019-10-01T01:02:03Z


def times(path: Path, form: TimeForm | None = None) -> list[int]:
    clicks = read(path, meaning=Meaning(form or TimeForm()))
    assert clicks.rejected == []
    return column(clicks, "timestamp")


def of(tmp_path: Path, *values: object, name: str = "time") -> Path:
    rows = "".join(f'u,i,"{value}"\n' for value in values)
    return written(tmp_path, f"user,item,{name}\n{rows}")


@pytest.mark.parametrize(
    ("text", "expected_ms"),
    [
        ("2019-10-01 01:02:03 UTC", MS),
        ("2019-10-01 01:02:03", MS),
        ("2019-10-01T01:02:03Z", MS),
        ("2019-10-01T01:02:03.250Z", MS + 250),
        ("2019-10-01T01:02:03.2509999Z", MS + 250),
        ("2019-10-01T03:02:03+02:00", MS),
        ("2019-10-01T03:02:03+0200", MS),
        ("2019-10-01 01:02:03 GMT", MS),
        ("2019-10-01 01:02", MS - 3_000),
        ("2019-10-01", MS - 3_723_000),
        ("20191001", MS - 3_723_000),
        ("20191001010203", MS),
        ("2019/10/01 01:02:03", MS),
        ("2019/10/01", MS - 3_723_000),
        ("01.10.2019 01:02:03", MS),
        ("01.10.2019", MS - 3_723_000),
        ("Tue, 01 Oct 2019 01:02:03 GMT", MS),
        ("01/Oct/2019:03:02:03 +0200", MS),
        ("Oct 01, 2019, 01:02:03 AM", MS),
        ("01 Oct 2019 01:02:03", MS),
        (str(MS // 1000), MS),
        (str(MS), MS),
        (str(MS * 1_000 + 999), MS + 1),
        (str(MS * 1_000_000), MS),
        ("1.569891723E9", MS),
        (" 2019-10-01 01:02:03 ", MS),
    ],
)
def test_forms_that_can_be_read_in_one_way(tmp_path: Path, text: str, expected_ms: int) -> None:
    assert times(of(tmp_path, text)) == [expected_ms]


def test_each_number_says_its_unit_by_itself(tmp_path: Path) -> None:
    """Neither the rows before it nor those behind it can change what one means."""
    path = of(tmp_path, MS // 1000, MS, MS * 1000, MS * 10**6)
    assert times(path) == [MS] * 4


@pytest.mark.parametrize(
    "text",
    ["86400", "86400000", "0", "-5", "12345678901", "4102444800", "1e30", "inf", "2019",
     "2019-13-01", "2019-10-01 25:00:00", "31.02.2019", "yesterday", "2100-01-01",
     "2719-10-01 00:00:00", "1969-12-31", ""],
)  # fmt: skip
def test_what_could_be_any_time_or_none_is_named(tmp_path: Path, text: str) -> None:
    clicks = read(of(tmp_path, MS, text))
    assert column(clicks, "timestamp") == [MS]
    assert list(messages(clicks)) == [3]
    assert messages(clicks)[3].startswith("time expected a time before 2100")
    assert messages(clicks)[3].endswith(f"got {text!r}" if text else "got nothing")


def test_the_names_unit_or_the_options_holds_for_every_number(tmp_path: Path) -> None:
    path = of(tmp_path, MS // 1000, MS, name="time_s")
    clicks = read(path, names=Names(time="time_s"))
    assert column(clicks, "timestamp") == [MS]
    assert "(a number of s" in messages(clicks)[3]
    assert times(of(tmp_path, 86_400, 172_800), TimeForm("s")) == [86_400_000, 172_800_000]


@pytest.mark.parametrize(
    ("values", "expected", "said"),
    [
        (["13/10/2019 01:02", "01/10/2019 01:02:03"], [-3_000 + 12 * 86_400_000, 0], "first"),
        (["10/13/2019 1:02:03 AM", "10/01/2019 1:02:03 PM"], [12 * 86_400_000, 43_200_000],
         "second"),
        (["13-10-2019 01:02:03"], [12 * 86_400_000], "first"),
    ],
)  # fmt: skip
def test_days_and_months_are_told_by_those_that_leave_no_doubt(
    tmp_path: Path, values: list[str], expected: list[int], said: str
) -> None:
    path = of(tmp_path, *values)
    assert times(path) == [MS + each for each in expected]
    assert f"time: the {said} number is the day" in guesses(path)


def test_days_and_months_in_doubt_are_refused_until_an_option_says(tmp_path: Path) -> None:
    path = of(tmp_path, "01/10/2019 01:02", "02/10/2019 01:02")
    with pytest.raises(UnclearError, match=r"'01/10/2019 01:02', in which either .*--time-format"):
        ClickFiles([path], ReadAs())
    day_first = TimeForm(format="%d/%m/%Y %H:%M")
    assert times(path, day_first) == [MS - 3_000, MS - 3_000 + 86_400_000]
    month_first = TimeForm(format="%m/%d/%Y %H:%M")
    assert times(path, month_first)[0] == 1_547_082_120_000  # 10 January


def test_rows_that_contradict_the_guess_are_named(tmp_path: Path) -> None:
    rows = ["13/10/2019 01:02:03"] * 300 + ["10/13/2019 01:02:03"]
    clicks = read(of(tmp_path, *rows))
    assert len(clicks) == 300
    assert "got '10/13/2019 01:02:03'" in messages(clicks)[302]


def test_a_given_format_holds_for_every_row(tmp_path: Path) -> None:
    path = of(tmp_path, "2019|10|01", MS)
    clicks = read(path, meaning=Meaning(TimeForm(format="%Y|%m|%d")))
    assert column(clicks, "timestamp") == [MS - 3_723_000]
    assert messages(clicks) == {3: f"time expected a time as %Y|%m|%d, got '{MS}'"}
    with pytest.raises(UnclearError, match="--time-format expected a format"):
        TimeForm(format="%Q")


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("name", ["event_time_s", "event_time_us", "time"])
def test_a_parquet_time_is_never_scaled_again(tmp_path: Path, unit: str, name: str) -> None:
    path = tmp_path / "log.parquet"
    moments = pa.array(
        [datetime(2019, 10, 1, 1, 2, 3, tzinfo=UTC), None], pa.timestamp(unit, "UTC")
    )
    pq.write_table(pa.table({"user": ["a", "b"], "item": ["i", "j"], name: moments}), path)
    clicks = read(path, names=Names(time=name))
    assert column(clicks, "timestamp") == [MS]
    assert messages(clicks)[2].endswith("got nothing")


def test_parquet_dates_and_nested_times(tmp_path: Path) -> None:
    path, nested = tmp_path / "dates.parquet", tmp_path / "nested.parquet"
    day = [date(2019, 10, 1)]
    pq.write_table(pa.table({"user": ["a"], "item": ["i"], "t_dat": day}), path)
    assert times(path) == [MS - 3_723_000]
    moment = datetime(2019, 10, 1, 1, 2, 3, 250_000, tzinfo=UTC)
    rows: list[Any] = [{"user": "a", "events": [{"item": "i", "time": moment}]}]
    pq.write_table(pa.Table.from_pylist(rows), nested)
    assert times(nested) == [MS + 250]


def test_the_guess_is_shown_with_an_example(tmp_path: Path) -> None:
    said = guesses(written(tmp_path, f"user,item,ts,price\nu,i,{MS},1.25\n"))
    assert said == [
        "columns: user from user, item from item, time from ts "
        f"('{MS}' is 2019-10-01T01:02:03.000Z), price from price ('1.25' is 125 cents)"
    ]


def test_a_log_without_times_gets_them_only_when_asked(tmp_path: Path) -> None:
    path = written(tmp_path, "user,item\nu,a\nu,b\nv,c\n")
    with pytest.raises(UnclearError, match="a log without times its beginning by --start"):
        ClickFiles([path], ReadAs())
    clicks = read(path, meaning=Meaning(start_ms=MS))
    assert column(clicks, "timestamp") == [MS, MS + 1_000, MS + 2_000]
    said = guesses(path, asked=ReadAs(meaning=Meaning(start_ms=MS)))
    assert said[-1] == "no times: one second from a click to the next, in the order of the file"
