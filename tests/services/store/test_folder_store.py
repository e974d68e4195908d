"""A store in a folder: killed, full, grown by another, replaced by another."""

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from streamrec.services.store.contract import Space, StoreError, StoreFullError
from streamrec.services.store.folder import FolderStore, Replacement, current_name
from streamrec.services.store.lmdb_file import FIRST_MAP_BYTES, opened

LARGEST = Space("largest", max)
KEYS = [b"k%04d" % k for k in range(500)]


class Clock:
    """Seconds that a test lets pass."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def files(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.is_dir()]


WRITER = """
import sys
from pathlib import Path
from tests.services.store.test_folder_store import KEYS, LARGEST
from streamrec.services.store.folder import FolderStore

store = FolderStore(Path(sys.argv[1]), make=True)
number = 0
while True:
    number += 1
    store.put(LARGEST, [(key, b"%012d" % number + bytes(2_000)) for key in KEYS])
    print(number, flush=True)
"""


def test_a_writer_that_is_killed_leaves_whole_puts_and_none_goes_back(tmp_path: Path) -> None:
    last = 0
    for _ in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            told = 0
            while told < 5 + last % 7:
                told = int(writer.stdout.readline())
            writer.send_signal(signal.SIGKILL)
            told = max([told, *map(int, writer.stdout.read().split())])
        store = FolderStore(tmp_path)
        numbers = {int((value or b"")[:12]) for value in store.get(LARGEST, KEYS)}
        store.close()

        assert len(numbers) == 1, "a put was taken in part"
        number = numbers.pop()
        assert number >= max(told, last), "what had returned was taken back"
        last = number


def test_a_full_disk_is_told_and_what_was_there_stays(tmp_path: Path) -> None:
    store = FolderStore(tmp_path, make=True)
    store.put(LARGEST, [(b"a", b"1")])
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, limits[1]))
    try:
        with pytest.raises(StoreFullError, match=r"the disk is full, or failed: free space"):
            store.put(LARGEST, [(b"a", b"2"), *((key, os.urandom(4_000)) for key in KEYS)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert store.get(LARGEST, [b"a", KEYS[0]]) == [b"1", None]
    store.put(LARGEST, [(b"a", b"3")])  # once there is room again
    store.sync()
    assert store.get(LARGEST, [b"a"]) == [b"3"]
    store.close()


READER = """
import sys
from pathlib import Path
from tests.services.store.test_folder_store import LARGEST
from streamrec.services.store.folder import FolderStore

store = FolderStore(Path(sys.argv[1]))
for line in sys.stdin:
    value = store.get(LARGEST, [line.strip().encode()])[0]
    print(-1 if value is None else len(value), flush=True)
"""


def test_the_map_grows_while_another_process_reads(tmp_path: Path) -> None:
    store = FolderStore(tmp_path, make=True)
    store.put(LARGEST, [(b"first", bytes(10))])
    with subprocess.Popen(
        [sys.executable, "-c", READER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as reader:
        assert reader.stdin is not None and reader.stdout is not None

        def size_of(key: str) -> int:
            print(key, file=reader.stdin, flush=True)
            assert reader.stdout is not None
            return int(reader.stdout.readline())

        assert size_of("first") == 10
        for number in range(3):  # beyond the first map
            store.put(LARGEST, [(b"large%d" % number, bytes(FIRST_MAP_BYTES // 2))])
            assert size_of(f"large{number}") == FIRST_MAP_BYTES // 2
        assert size_of("first") == 10
        reader.stdin.close()
    store.close()


def test_readers_without_a_store_are_told_what_makes_one(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "none")

    with pytest.raises(StoreError, match=r"expected a store, got none; run dataflows\.store"):
        store.get(LARGEST, [b"a"])
    with pytest.raises(StoreError, match=r"expected a folder that can be written"):
        store.put(LARGEST, [(b"a", b"1")])
    assert not (tmp_path / "none").exists()


def test_a_replacement_takes_the_place_of_the_one_in_use(tmp_path: Path) -> None:
    clock = Clock()
    writer, reader = FolderStore(tmp_path, make=True), FolderStore(tmp_path, clock_s=clock)
    writer.put(LARGEST, [(b"a", b"1"), (b"gone", b"1")])
    assert reader.get(LARGEST, [b"a", b"gone"]) == [b"1", b"1"]

    new = Replacement(tmp_path)
    new.store.put(LARGEST, [(b"a", b"2")])
    assert reader.get(LARGEST, [b"a", b"gone"]) == [b"1", b"1"]
    new.swap(lambda: new.store.put(LARGEST, [(b"late", b"3")]))
    new.close()
    writer.put(LARGEST, [(b"b", b"4")])
    clock.now_s += 1.0

    assert reader.get(LARGEST, [b"a", b"b", b"late", b"gone"]) == [b"2", b"4", b"3", None]
    assert files(tmp_path) == [current_name(tmp_path)]
    for store in (writer, reader):
        store.close()


def test_nothing_that_is_put_while_one_takes_the_others_place_is_lost(tmp_path: Path) -> None:
    written: list[int] = []  # as the topic has it
    writer, stop = FolderStore(tmp_path, make=True), threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            written.append(number)
            writer.put(LARGEST, [(b"k%d" % number, b"%d" % number)])

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    for _ in range(3):
        new, taken = Replacement(tmp_path), 0

        def take(new: Replacement = new) -> None:
            nonlocal taken
            count = len(written)
            new.store.put(LARGEST, [(b"k%d" % n, b"%d" % n) for n in written[taken:count]])
            taken = count

        take()
        while (
            len(written) < taken + 5 and thread.is_alive()
        ):  # some more are written, which is what is tested
            time.sleep(0.001)
        new.swap(take)
        new.close()
    stop.set()
    thread.join(30)

    assert len(written) > 10
    found = writer.get(LARGEST, [b"k%d" % n for n in written])
    assert found == [b"%d" % n for n in written]
    writer.close()


def test_a_replacement_that_was_killed_half_way_is_removed_by_the_next(tmp_path: Path) -> None:
    store = FolderStore(tmp_path, make=True)
    store.put(LARGEST, [(b"a", b"1")])
    opened(tmp_path / "00112233445566ff", make=True).close()

    new = Replacement(tmp_path)
    with pytest.raises(StoreError, match=r"expected one rebuild at a time, got another that runs"):
        Replacement(tmp_path)
    new.close()

    assert files(tmp_path) == [current_name(tmp_path)]
    assert store.get(LARGEST, [b"a"]) == [b"1"]
    store.close()
