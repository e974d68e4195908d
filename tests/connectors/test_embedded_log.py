"""What holds for the embedded log alone: several processes at once, kills, damage, compaction."""

import multiprocessing
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from contextlib import closing
from pathlib import Path

import pytest

from streamrec.connectors.embedded.log import EmbeddedLog
from streamrec.connectors.embedded.writer import EmbeddedWriter
from streamrec.connectors.log import (
    Log,
    LogError,
    OffsetOutOfRangeError,
    Outgoing,
    Place,
    TopicSpec,
    WriteError,
)
from tests.connectors.log_reading import create, read, read_from, write

_PROCESSES = multiprocessing.get_context("spawn")


def _write_numbers(path: Path, writer_number: int, count: int, batch: int) -> None:
    with closing(EmbeddedLog(path).writer()) as writer:
        for start in range(0, count, batch):
            numbers = range(start, min(start + batch, count))
            values = [b"%d:%d" % (writer_number, number) for number in numbers]
            writer.write_columns("numbers", writer_number % 2, [None] * len(values), values)
            if start % (batch * 8) == 0:
                writer.flush(20)


def test_several_processes_write_and_read_at_once(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite"
    log = EmbeddedLog(path)
    create(log, "numbers", partitions=2)
    count, batches = 5_000, (1, 37, 500, 2_500)
    writers = [
        _PROCESSES.Process(
            target=_write_numbers, args=(path, number, count // (10 if batch == 1 else 1), batch)
        )
        for number, batch in enumerate(batches)
    ]
    for process in writers:
        process.start()
    expected = count * 3 + count // 10
    records = read_from(log, "numbers", {0: 0, 1: 0}, expected, max_messages=333)
    for process in writers:
        process.join(30)
        assert process.exitcode == 0
    assert len(records) == expected
    for partition in (0, 1):
        offsets = [r.offset for r in records if r.partition == partition]
        assert offsets == list(range(len(offsets)))
    for number in range(len(batches)):
        sent = [
            int(value.partition(b":")[2])
            for r in records
            if (value := r.value or b"").startswith(b"%d:" % number)
        ]
        assert sent == list(range(len(sent)))


def test_several_processes_may_be_the_first_to_open_the_file(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path\n"
    code += "from streamrec.connectors.embedded.log import EmbeddedLog\n"
    code += "EmbeddedLog(Path(sys.argv[1])).admin().close()"
    path = tmp_path / "new" / "log.sqlite"
    processes = [subprocess.Popen([sys.executable, "-c", code, str(path)]) for _ in range(4)]
    assert [process.wait(60) for process in processes] == [0, 0, 0, 0]


_ENDLESS_WRITER = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    from streamrec.connectors.embedded.log import EmbeddedLog

    writer = EmbeddedLog(Path(sys.argv[1])).writer()
    number = 0
    while True:
        values = [b"%d" % i for i in range(number, number + 200)]
        writer.write_columns("numbers", 0, [None] * 200, values)
        number += 200
        if number % 600 == 0:
            writer.flush(20)
            sys.stdout.write(f"{number}\\n")
            sys.stdout.flush()
    """
)


@pytest.mark.parametrize("kill", range(4))
def test_a_writer_killed_in_mid_write_loses_nothing_flushed(tmp_path: Path, kill: int) -> None:
    path = tmp_path / "log.sqlite"
    log = EmbeddedLog(path)
    create(log, "numbers")
    with subprocess.Popen(
        [sys.executable, "-c", _ENDLESS_WRITER, str(path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for _ in range(3):
            process.stdout.readline()
        time.sleep(0.05 + 0.037 * kill)
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        flushed = [int(line) for line in process.stdout.read().splitlines()]
    with closing(log.admin()) as admin:
        high = admin.bounds("numbers")[0].high
    assert high >= max(flushed, default=1_800)
    records = read_from(log, "numbers", {0: 0}, high, max_messages=5_000)
    assert [r.value for r in records] == [b"%d" % i for i in range(high)]
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    write(log, "numbers", [Outgoing(None, b"after")])
    assert [r.offset for r in read_from(log, "numbers", {0: high}, 1)] == [high]


def test_a_damaged_record_is_named_and_not_handed_out(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite"
    log = EmbeddedLog(path)
    create(log, "t")
    write(log, "t", [Outgoing(None, b"A" * 100)])
    with closing(sqlite3.connect(path)) as db, db:
        db.execute('UPDATE batches SET "values" = ?', (b"A" * 99 + b"B",))
    with (
        closing(log.reader()) as reader,
        pytest.raises(LogError, match=r"topic 't', partition 0, offset 0: .*checksum"),
    ):
        reader.assign("t", {0: 0})
        reader.poll(10)


def test_a_file_with_overwritten_pages_is_named_and_hands_out_nothing_wrong(
    tmp_path: Path,
) -> None:
    path = tmp_path / "log.sqlite"
    log = EmbeddedLog(path)
    create(log, "t")
    values: list[bytes | None] = [b"%d" % i * 100 for i in range(5_000)]
    with closing(log.writer()) as writer:
        for start in range(0, 5_000, 1_000):
            writer.write_columns("t", 0, [None] * 1_000, values[start : start + 1_000])
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(b"\xa5" * 40_000)
    got: list[bytes | None] = []
    with closing(log.reader()) as reader:
        reader.assign("t", {0: 0})
        with pytest.raises(LogError, match="damaged"):
            while batches := reader.poll(1_000):
                got += batches[0].values
    assert got == values[: len(got)]
    assert 0 < len(got) < 5_000


def test_a_file_that_is_no_log_is_refused_and_left_alone(tmp_path: Path) -> None:
    text = tmp_path / "text.sqlite"
    text.write_text("not a database, but a text of some length" * 100)
    with pytest.raises(LogError, match="this is no embedded log"):
        EmbeddedLog(text).reader()
    assert text.read_text().startswith("not a database")
    other = tmp_path / "other.sqlite"
    with closing(sqlite3.connect(other)) as db, db:
        db.execute("CREATE TABLE theirs (x)")
    with pytest.raises(LogError, match="got another SQLite database"):
        EmbeddedLog(other).admin()
    folder = tmp_path / "file"
    folder.write_text("")
    with pytest.raises(LogError, match="choose another path"):
        EmbeddedLog(folder / "log.sqlite").admin()


def test_a_full_disk_fails_the_flush_and_loses_nothing_written_before(tmp_path: Path) -> None:
    """A limit on the size of files stands in for the disk: SQLite sees a failing write."""
    path = tmp_path / "log.sqlite"
    log = EmbeddedLog(path)
    create(log, "t")
    write(log, "t", [Outgoing(None, b"before")])
    code = textwrap.dedent(
        """
        import resource, signal, sys
        from pathlib import Path
        from streamrec.connectors.embedded.log import EmbeddedLog
        from streamrec.connectors.log import Outgoing, WriteError

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        writer = EmbeddedLog(Path(sys.argv[1])).writer()
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, resource.RLIM_INFINITY))
        writer.write("t", [Outgoing(None, b"fits")])
        writer.flush(10)
        for attempt in ("write", "again", "flush"):
            try:
                if attempt != "flush":
                    writer.write("t", [Outgoing(None, bytes(900_000))] * 5)
                writer.flush(10)
            except WriteError as error:
                print(error)
        try:
            writer.close()
        except WriteError as error:
            print("closed")
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=60
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 4, done
    assert "5 messages were not written" in lines[0]
    assert "disk" in lines[0]
    assert lines[0] == lines[1] == lines[2]
    assert lines[3] == "closed"
    write(log, "t", [Outgoing(None, b"after")])
    values = [r.value for r in read_from(log, "t", {0: 0}, 3)]
    assert values == [b"before", b"fits", b"after"]


def test_nothing_is_acknowledged_by_a_file_that_was_removed(tmp_path: Path) -> None:
    path, aside = tmp_path / "log.sqlite", tmp_path / "aside.sqlite"
    log, messages = EmbeddedLog(path), [("t", Outgoing(None, b"a"))]
    create(log, "t")
    with closing(log.appender()) as appender:
        assert isinstance(appender.begin(messages).results[0], Place)
        path.rename(aside)
        (gone,) = appender.begin(messages).results
        path.touch()
        (another,) = appender.begin(messages).results
        aside.replace(path)  # put back, it goes on
        assert isinstance(appender.begin(messages).results[0], Place)
    assert "got none: it was removed" in str(gone)
    assert "got another: it was removed" in str(another)


def test_a_flush_to_a_file_that_was_removed_fails(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite"
    log = EmbeddedLog(path)
    create(log, "t")
    writer = log.writer()
    path.unlink()
    writer.write("t", [Outgoing(None, b"a")])
    with pytest.raises(WriteError, match=r"removed or moved away.*1 messages were not written"):
        writer.flush(10)
    with pytest.raises(WriteError):
        writer.close()


def test_a_locked_file_fails_the_flush_with_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log.sqlite"
    log = EmbeddedLog(path)
    create(log, "t")
    monkeypatch.setattr("streamrec.connectors.embedded.file.BUSY_S", 0.3)
    writer = log.writer()
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        with pytest.raises(WriteError, match="another process has held the file"):
            writer.write("t", [Outgoing(None, b"v")])
            writer.flush(10)
        db.execute("ROLLBACK")
    with pytest.raises(WriteError, match="1 messages were not written"):
        writer.close()


def test_retention_by_size_keeps_the_newest(embedded_log: Log) -> None:
    create(embedded_log, "t", retention_bytes="50000")
    with closing(embedded_log.writer()) as writer, closing(embedded_log.admin()) as admin:
        for number in range(40):
            writer.write_columns("t", 0, [None] * 10, [b"%04d" % number * 100] * 10)
            writer.flush(10)
        low, high = admin.bounds("t")[0]
        assert high == 400
        assert 100 <= high - low <= 150
    records = read_from(embedded_log, "t", {0: low}, high - low)
    assert [r.offset for r in records] == list(range(low, high))


def test_a_reader_overtaken_by_retention_is_told(embedded_log: Log) -> None:
    create(embedded_log, "t", retention_bytes="1000")
    with closing(embedded_log.reader()) as reader, closing(embedded_log.writer()) as writer:
        reader.assign("t", {0: 0})
        for _ in range(10):
            writer.write("t", [Outgoing(None, bytes(500))])
            writer.flush(10)
        with pytest.raises(OffsetOutOfRangeError, match="from 8 to 10, got 0"):
            reader.poll(10)


def test_compaction_keeps_the_newest_record_of_each_key_under_its_offset(embedded_log: Log) -> None:
    create(embedded_log, "table", cleanup_policy="compact")
    newest: dict[bytes, tuple[int, bytes | None]] = {}
    with closing(embedded_log.reader()) as reader, closing(embedded_log.writer()) as writer:
        reader.assign("table", {0: 0})
        for number in range(30_000):
            key = b"%d" % (number * number % 997)
            value = None if number % 7 == 0 else b"%d" % number
            newest[key] = (number, value)
            writer.write("table", [Outgoing(key, value, [("n", b"%d" % number)], number)])
        writer.flush(10)
        followed = read(reader, 3, max_messages=3)  # started before compaction, goes on after it
        rest = read(reader, len(newest), max_messages=700)
    with closing(embedded_log.admin()) as admin:
        assert admin.bounds("table")[0] == (0, 30_000)
    assert len(followed) + len(rest) < 25_000
    records = read_from(embedded_log, "table", {0: 0}, 1, max_messages=30_000)
    offsets = [r.offset for r in records]
    assert offsets == sorted(set(offsets))
    last = {r.key: r for r in records}
    assert {key: (r.offset, r.value) for key, r in last.items()} == newest
    assert all(
        r.headers == [("n", b"%d" % r.offset)] and r.timestamp_ms == r.offset for r in records
    )
    middle = offsets[len(offsets) // 2] + 1
    resumed = read_from(embedded_log, "table", {0: middle}, 1, max_messages=30_000)
    assert [r.offset for r in resumed] == [offset for offset in offsets if offset >= middle]


def test_compaction_leaves_what_is_younger_than_the_lag(embedded_log: Log) -> None:
    """And what an older record of its key is replaced by only there."""
    create(embedded_log, "table", cleanup_policy="compact", min_compaction_lag_ms="60000")
    now_ms = time.time_ns() // 1_000_000
    old_ms = now_ms - 120_000
    with closing(embedded_log.writer()) as writer:
        for number in range(30_000):  # ten keys, and then none of them for a while
            writer.write("table", [Outgoing(b"%d" % (number % 10), b"old", None, old_ms)])
        writer.flush(10)
        for number in range(30_000):
            writer.write("table", [Outgoing(b"%d" % (number % 10), b"young", None, now_ms)])
        writer.flush(10)
    records = read_from(embedded_log, "table", {0: 0}, 1, max_messages=60_000)
    old = [r for r in records if r.value == b"old"]
    assert len(records) - len(old) == 30_000
    assert 10 <= len(old) < 15_000
    assert {r.key for r in old} == {b"%d" % number for number in range(10)}
    assert {r.offset for r in old} >= set(range(29_990, 30_000))


def test_a_deleted_topic_made_anew_is_another_topic(embedded_log: Log) -> None:
    create(embedded_log, "t")
    writer = embedded_log.writer()
    assert isinstance(writer, EmbeddedWriter)
    with closing(embedded_log.admin()) as admin, closing(embedded_log.reader()) as reader:
        writer.write("t", [Outgoing(None, b"old")])
        writer.flush(10)
        reader.assign("t", {0: 0})
        reader.commit("group", "t", {0: 1})
        admin.delete("t")
        admin.create(TopicSpec("t", 1))
        assert admin.committed("group", "t") == {}
        write(embedded_log, "t", [Outgoing(None, b"new")])
        with pytest.raises(LogError):
            reader.poll(10)
        with pytest.raises(WriteError, match="was deleted while"):
            writer.write("t", [Outgoing(None, b"for the old one")])
            writer.flush(10)
        with pytest.raises(WriteError):
            writer.close()
    assert [r.value for r in read_from(embedded_log, "t", {0: 0}, 1)] == [b"new"]


def test_full_synchronisation_can_be_chosen(tmp_path: Path) -> None:
    log = EmbeddedLog(tmp_path / "log.sqlite", "full")
    create(log, "t")
    write(log, "t", [Outgoing(None, b"v")])
    assert len(read_from(log, "t", {0: 0}, 1)) == 1


def test_the_write_ahead_file_stays_small_under_a_steady_reader(embedded_log: Log) -> None:
    create(embedded_log, "t")
    with closing(embedded_log.reader()) as reader, closing(embedded_log.writer()) as writer:
        reader.assign("t", {0: 0})
        got = 0
        for _ in range(250):
            writer.write_columns("t", 0, [None] * 1_000, [bytes(500)] * 1_000)
            got += sum(map(len, reader.poll(2_000)))
        writer.flush(10)
        assert got >= 240_000
        path = Path(embedded_log.describe_target().split("'")[1])
        assert path.stat().st_size > 100_000_000
        assert path.with_name(path.name + "-wal").stat().st_size < 80_000_000
    path.unlink()
