"""Files of saved state: whole or not at all, compacted, removed in time, damage named."""

from pathlib import Path

import pyarrow as pa
import pytest

from streamrec.connectors.state_files import (
    MANIFEST,
    Reference,
    StateFileError,
    StateFiles,
    read_newest,
)


def rows(*numbers: int) -> pa.Table:
    return pa.table({"number": pa.array(numbers, pa.int64())})


def snapshot(files: StateFiles, table: pa.Table) -> Reference:
    return files.write(table, files.wants_base, {"fact": 1})


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("*.arrow")}


def test_changes_add_up_to_the_whole(tmp_path: Path) -> None:
    files = StateFiles(tmp_path)
    snapshot(files, rows(*range(5_000)))
    snapshot(files, rows())
    reference = snapshot(files, rows(7, 8))

    resumed = StateFiles(tmp_path)
    tables = resumed.read(Reference.of_plain(reference.plain()))

    assert [len(table) for table in tables] == [5_000, 2]
    assert reference.facts == {"fact": 1}
    assert [len(table) for table in read_newest(tmp_path)] == [5_000, 2]


def test_torn_file_is_named(tmp_path: Path) -> None:
    files = StateFiles(tmp_path)
    reference = snapshot(files, rows(*range(100)))
    path = tmp_path / reference.files[0].name
    path.write_bytes(path.read_bytes()[:-10])

    with pytest.raises(StateFileError, match=f"{path.name} expected .* it is torn or altered"):
        StateFiles(tmp_path).read(reference)


def test_altered_file_is_named(tmp_path: Path) -> None:
    files = StateFiles(tmp_path)
    reference = snapshot(files, rows(*range(100)))
    path = tmp_path / reference.files[0].name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)

    with pytest.raises(StateFileError, match=f"{path.name} expected .* with SHA-256"):
        StateFiles(tmp_path).read(reference)


def test_missing_file_is_named(tmp_path: Path) -> None:
    files = StateFiles(tmp_path)
    reference = snapshot(files, rows(1))
    (tmp_path / reference.files[0].name).unlink()

    with pytest.raises(StateFileError, match=f"{reference.files[0].name} expected to be readable"):
        StateFiles(tmp_path).read(reference)


def test_base_is_written_anew_when_changes_outweigh_it(tmp_path: Path) -> None:
    files = StateFiles(tmp_path)
    snapshot(files, rows(*range(2_000)))
    for _ in range(3):
        assert not files.wants_base
        snapshot(files, rows(*range(900)))

    assert files.wants_base
    assert len(snapshot(files, rows(*range(2_000))).files) == 1


def test_superseded_files_outlive_two_more_snapshots(tmp_path: Path) -> None:
    files = StateFiles(tmp_path)
    old = {snapshot(files, rows(*range(10))).files[0].name}
    new = {files.write(rows(*range(11)), True, {}).files[0].name}
    assert names(tmp_path) == old | new

    second = {file.name for file in snapshot(files, rows(1)).files}
    assert names(tmp_path) == old | second
    third = {file.name for file in snapshot(files, rows(2)).files}
    assert names(tmp_path) == third


def test_superseded_files_are_kept_as_long_as_backups_may_need_them(tmp_path: Path) -> None:
    now_s = 0.0
    files = StateFiles(tmp_path, keep_s=60.0, clock_s=lambda: now_s)
    old = snapshot(files, rows(*range(10))).files[0].name
    files.write(rows(*range(11)), True, {})
    for number in range(5):
        snapshot(files, rows(number))
    assert old in names(tmp_path)

    now_s = 61.0
    snapshot(files, rows(6))
    assert old not in names(tmp_path)


def test_resumed_shard_removes_what_its_snapshot_does_not_name(tmp_path: Path) -> None:
    files = StateFiles(tmp_path)
    reference = snapshot(files, rows(*range(10)))
    snapshot(files, rows(1))  # of an epoch that never became durable
    (tmp_path / "000000009-change-0.arrow.part").write_bytes(b"torn")

    resumed = StateFiles(tmp_path)
    resumed.read(reference)

    assert resumed.remove_strays() == 2
    assert names(tmp_path) == {reference.files[0].name}


def test_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    in_the_way = tmp_path / "shard"
    in_the_way.write_text("a file")

    with pytest.raises(StateFileError, match=r"in .*shard could not be written: .* lost"):
        snapshot(StateFiles(in_the_way), rows(1))


def test_no_manifest_is_no_state(tmp_path: Path) -> None:
    assert read_newest(tmp_path) == []
    assert not (tmp_path / MANIFEST).exists()
