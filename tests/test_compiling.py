"""Where kernels are kept, by programs of a small package that start anew each time."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from threading import Event, Thread

import pytest

_PACKAGE = {
    "__init__.py": "",
    "sizes.py": "FACTOR = 3\n",
    "parts.py": """
from streamrec.compiling import helper
from toy.sizes import (
    FACTOR,  # (how much)
)

@helper
def scaled(x: int) -> int:
    return FACTOR * x
""",
    "sums.py": """
from streamrec.compiling import kernel
from .parts import scaled

@kernel("int64(int64)")
def scaled_and_one(x: int) -> int:
    return scaled(x) + 1
""",
    "squares.py": """
from streamrec.compiling import kernel

@kernel("int64(int64)")
def square(x: int) -> int:
    return x * x
""",
    "theirs.py": """
import numba

@numba.njit("int64(int64)", cache=True)
def negative(x):
    return -x
""",
}
_PROGRAM = """
import json
from toy.sums import scaled_and_one
from toy.squares import square
from toy.theirs import negative
found = {each.__name__: [each(2), sum(each.stats.cache_misses.values())]
         for each in (scaled_and_one, square, negative)}
print(json.dumps(found))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the package `toy` lies."""
    (tmp_path / "toy").mkdir()
    for name, text in _PACKAGE.items():
        (tmp_path / "toy" / name).write_text(text)
    return tmp_path


def begun(folder: Path, program: str = _PROGRAM, **environment: str) -> "subprocess.Popen[str]":
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA")}
    return subprocess.Popen(
        [sys.executable, "-c", program],
        env={
            **kept,
            "PYTHONPATH": str(folder),
            "XDG_CACHE_HOME": str(folder / "home"),
            **environment,
        },
        stdout=subprocess.PIPE,
        text=True,
    )


def ended(process: "subprocess.Popen[str]") -> dict[str, list[int]]:
    """What each kernel answers, and how often it was compiled for that."""
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 0
    found: dict[str, list[int]] = json.loads(output)
    return found


def started(folder: Path, **environment: str) -> dict[str, list[int]]:
    return ended(begun(folder, **environment))


def kept(place: Path) -> list[str]:
    """The modules that have kernels there, once for each version."""
    return sorted(each.name.split("-")[0] for each in place.iterdir())


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def beside(folder: Path) -> Path:
    return folder / "toy" / "__pycache__" / "kernels"


def test_the_second_start_compiles_nothing(folder: Path) -> None:
    assert started(folder) == {"scaled_and_one": [7, 1], "square": [4, 1], "negative": [-2, 1]}
    assert started(folder) == {"scaled_and_one": [7, 0], "square": [4, 0], "negative": [-2, 0]}


def test_a_first_start_says_what_it_does_and_how_far_it_is(folder: Path) -> None:
    program = "import streamrec.compiling as c; c._Compiled.EVERY_S = 0.0\n" + _PROGRAM
    said = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONPATH": str(folder), "NUMBA_CACHE_DIR": str(folder / "kept")},
            capture_output=True,
            text=True,
            check=True,
        )
        said.append(done.stderr.splitlines())
    begin = "compiling kernels, once for this machine and version: "
    assert len(said[0]) == 2, said[0]
    for number, line in enumerate(said[0], 1):
        assert line.startswith(f"{begin}{number} of at most 2 in "), line
    assert said[1] == []


@pytest.mark.parametrize(
    ("file", "old", "new", "answer"),
    [
        ("parts.py", "FACTOR * x", "FACTOR * x * x", 13),
        ("sizes.py", "3", "5", 11),
        ("sums.py", "+ 1", "+ 2", 8),
    ],
)
def test_an_edit_of_what_a_kernel_is_made_of_compiles_it_anew_and_no_other(
    folder: Path, file: str, old: str, new: str, answer: int
) -> None:
    started(folder)
    edit(folder / "toy" / file, old, new)
    after = started(folder)
    assert after == {"scaled_and_one": [answer, 1], "square": [4, 0], "negative": [-2, 0]}


def test_kernels_of_earlier_sources_and_of_modules_that_are_gone_are_removed(folder: Path) -> None:
    started(folder)
    assert kept(beside(folder)) == ["toy.squares", "toy.sums"]
    before = {each.name for each in beside(folder).iterdir()}
    edit(folder / "toy" / "sizes.py", "3", "5")
    (folder / "toy" / "squares.py").rename(folder / "toy" / "powers.py")
    (beside(folder) / "toy.squares-other_compiler-sources").mkdir()
    program = _PROGRAM.replace("toy.squares", "toy.powers")
    ended(begun(folder, program))
    assert kept(beside(folder)) == ["toy.powers", "toy.squares", "toy.sums"]
    assert not before & {each.name for each in beside(folder).iterdir()}


def test_a_shared_folder_keeps_what_another_version_uses(folder: Path) -> None:
    shared = folder / "shared"
    place = shared / "streamrec-kernels"
    started(folder, NUMBA_CACHE_DIR=str(shared))
    assert not beside(folder).exists()
    edit(folder / "toy" / "sizes.py", "3", "5")
    started(folder, NUMBA_CACHE_DIR=str(shared))
    assert kept(place) == ["toy.squares", "toy.sums", "toy.sums"]
    edit(folder / "toy" / "sizes.py", "5", "3")
    assert started(folder, NUMBA_CACHE_DIR=str(shared))["scaled_and_one"] == [7, 0]

    long_ago_s = time.time() - 40 * 86_400
    for each in place.iterdir():
        os.utime(each, (long_ago_s, long_ago_s))
    started(folder, NUMBA_CACHE_DIR=str(shared))
    assert kept(place) == ["toy.squares", "toy.sums"]
    assert started(folder, NUMBA_CACHE_DIR=str(shared))["negative"] == [-2, 0]  # theirs stay


def test_without_a_place_beside_the_package_the_user_s_cache_folder_has_them(folder: Path) -> None:
    (folder / "toy" / "__pycache__").write_text("no folder can be made here")
    environment = {"PYTHONDONTWRITEBYTECODE": "1", "NUMBA_CACHE_DIR": ""}
    started(folder, **environment)
    assert kept(folder / "home" / "streamrec" / "kernels") == ["toy.squares", "toy.sums"]
    assert started(folder, **environment)["square"] == [4, 0]


def test_with_no_place_at_all_kernels_work(folder: Path) -> None:
    for name in ("toy/__pycache__", "home"):
        (folder / name).write_text("no folder can be made here")
    program = "from toy.squares import square; print('{\"square\": [%s, 1]}' % square(3))"
    assert ended(begun(folder, program)) == {"square": [9, 1]}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_kernels_that_came_with_a_package_serve_where_it_cannot_be_written(folder: Path) -> None:
    started(folder)
    beside(folder).chmod(0o555)
    assert started(folder)["square"] == [4, 0]
    assert not (folder / "home").exists()
    beside(folder).chmod(0o755)


def test_what_changed_after_its_import_is_not_kept(folder: Path) -> None:
    program = """
import pathlib
import toy.parts
file = pathlib.Path(toy.parts.__file__)
file.write_text(file.read_text().replace("FACTOR * x", "FACTOR * x * x"))
"""
    assert ended(begun(folder, program + _PROGRAM))["scaled_and_one"] == [7, 1]
    assert started(folder)["scaled_and_one"] == [13, 1]
    assert started(folder)["scaled_and_one"] == [13, 0]


def test_files_that_seem_to_come_from_the_future_are_kept(folder: Path) -> None:
    tomorrow_s = time.time() + 86_400
    os.utime(folder / "toy" / "parts.py", (tomorrow_s, tomorrow_s))
    started(folder)
    assert started(folder)["scaled_and_one"] == [7, 0]


def test_processes_that_start_at_once_do_not_disturb_each_other(folder: Path) -> None:
    started(folder)
    edit(folder / "toy" / "sizes.py", "3", "5")
    for process in [begun(folder) for _ in range(3)]:
        assert ended(process)["scaled_and_one"][0] == 11
    assert started(folder)["scaled_and_one"] == [11, 0]


def test_processes_live_with_kernels_that_are_removed_under_them(folder: Path) -> None:
    done = Event()

    def remove() -> None:
        while not done.is_set():
            shutil.rmtree(beside(folder), ignore_errors=True)

    remover = Thread(target=remove)
    remover.start()
    try:
        for process in [begun(folder) for _ in range(2)]:
            assert ended(process)["scaled_and_one"][0] == 7
    finally:
        done.set()
        remover.join()


def test_a_file_that_cannot_be_read_is_compiled_anew(folder: Path) -> None:
    started(folder)
    for code in beside(folder).rglob("*.nbc"):
        code.write_bytes(code.read_bytes()[:40])
    assert started(folder)["square"] == [4, 1]
    assert started(folder)["square"] == [4, 0]


def test_importing_the_package_does_not_import_numba(folder: Path) -> None:
    program = "import streamrec, sys; print('{\"numba\": [%d]}' % ('numba' in sys.modules))"
    assert ended(begun(folder, program)) == {"numba": [0]}
