"""Files that are written once: who is first decides, and one of two copies may be lost."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from streamrec.connectors.state_files import StateFileError
from streamrec.connectors.written_once import write_once


def test_first_who_asks_decides(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "start.json"

    assert write_once(path, lambda: b'"first"') == b'"first"'
    assert write_once(path, lambda: b'"second"') == b'"first"'
    assert {p.name for p in path.parent.iterdir()} == {"start.json", "start.json.copy"}


def test_many_who_ask_at_once_all_get_the_first(tmp_path: Path) -> None:
    def ask(number: int) -> bytes:
        barrier.wait()
        return write_once(path, lambda: b'"%d"' % number)

    barrier = Barrier(8)
    with ThreadPoolExecutor(8) as pool:
        for turn in range(40):
            path = tmp_path / str(turn) / "start.json"
            answers = set(pool.map(ask, range(8)))
            assert len(answers) == 1
            assert {path.read_bytes(), path.with_name("start.json.copy").read_bytes()} == answers


@pytest.mark.parametrize("name", ["start.json", "start.json.copy"])
@pytest.mark.parametrize("left", [None, b"", b'"fir'], ids=["missing", "empty", "cut"])
def test_one_of_two_is_made_again_from_the_other(
    name: str, left: bytes | None, tmp_path: Path
) -> None:
    path = tmp_path / "start.json"
    write_once(path, lambda: b'"first"')
    if left is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_bytes(left)

    assert write_once(path, lambda: b'"second"') == b'"first"'
    assert (tmp_path / name).read_bytes() == b'"first"'


def test_file_of_before_gets_its_copy(tmp_path: Path) -> None:
    (tmp_path / "start.json").write_bytes(b'"first"')

    assert write_once(tmp_path / "start.json", lambda: b'"second"') == b'"first"'
    assert (tmp_path / "start.json.copy").read_bytes() == b'"first"'


def test_copies_that_differ_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "start.json"
    write_once(path, lambda: b'{"0": 17}')
    path.write_bytes(b'{"0": 18}')

    with pytest.raises(StateFileError, match=r"start.json and its copy .* to be the same, got"):
        write_once(path, lambda: b"{}")


def test_two_garbled_copies_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "start.json"
    write_once(path, lambda: b'{"0": 17}')
    for name in ("start.json", "start.json.copy"):
        (tmp_path / name).write_bytes(b"{")

    with pytest.raises(StateFileError, match=r"start.json expected JSON, got something else"):
        write_once(path, lambda: b"{}")
