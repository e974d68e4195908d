"""The file of the embedded log: its tables, how a connection to it is opened, and its errors.

SQLite in WAL mode: readers never wait for writers, writers wait for each other (`BUSY_S`), and a
process that is killed leaves a file that the next one opens as if it had never begun its last
transaction. With `synchronous=NORMAL` a commit survives the death of the process but not of the
machine; `FULL` adds an fsync per commit for that.
"""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from streamrec.connectors.log import LogError, UnknownTopicError, WriteError

Synchronous = Literal["normal", "full"]

BUSY_S = 30.0  # the longest a writer waits for another process's transaction
OFFSET_BITS = 40  # a row's id is (partition id << 40) + its first offset: one B-tree, no index
_APPLICATION_ID = 0x53524C47  # "SRLG"
_FORMAT = 1
_PAGE_BYTES = 16_384  # batches are large: fewer overflow pages than with the default 4,096
_WAL_BYTES_MAX = 64 * 1024 * 1024

_TABLES = """
CREATE TABLE IF NOT EXISTS topics (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, configs TEXT NOT NULL
);
-- AUTOINCREMENT: the id of a deleted topic's partition must never come back, or a reader of the
-- old topic would read the new one.
CREATE TABLE IF NOT EXISTS partitions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    topic_id INTEGER NOT NULL,
    partition INTEGER NOT NULL,
    low INTEGER NOT NULL DEFAULT 0,
    high INTEGER NOT NULL DEFAULT 0,
    bytes INTEGER NOT NULL DEFAULT 0,
    clean INTEGER NOT NULL DEFAULT 0,  -- compaction: offsets below hold one record a key
    UNIQUE (topic_id, partition)
);
CREATE TABLE IF NOT EXISTS batches (
    id INTEGER PRIMARY KEY,
    records INTEGER NOT NULL, span INTEGER NOT NULL, size INTEGER NOT NULL,
    ms_max INTEGER NOT NULL, checksum INTEGER NOT NULL,
    lengths BLOB NOT NULL, "values" BLOB NOT NULL,
    key_lengths BLOB, keys BLOB, timestamps BLOB, headers BLOB, offsets BLOB
);
CREATE TABLE IF NOT EXISTS group_offsets (
    name TEXT NOT NULL, topic TEXT NOT NULL, partition INTEGER NOT NULL, next INTEGER NOT NULL,
    PRIMARY KEY (name, topic, partition)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS schemas (
    id INTEGER PRIMARY KEY AUTOINCREMENT, text TEXT NOT NULL, canonical TEXT NOT NULL UNIQUE
);
CREATE TABLE IF NOT EXISTS versions (
    subject TEXT NOT NULL, version INTEGER NOT NULL, schema_id INTEGER NOT NULL,
    PRIMARY KEY (subject, version)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS compatibility (
    subject TEXT NOT NULL PRIMARY KEY, level TEXT NOT NULL
) WITHOUT ROWID;
"""

_HINTS = {
    "SQLITE_BUSY": f"another process has held the file for {BUSY_S:.0f} s: stop it, or try again",
    "SQLITE_FULL": "the disk is full: free space, then start again",
    "SQLITE_IOERR": "the disk failed or is full: look at the system's log",
    "SQLITE_CORRUPT": "the file is damaged: restore it, or move it away and start anew",
    "SQLITE_NOTADB": "this is no embedded log: move the file away, or choose another path",
    "SQLITE_READONLY": "the file or its folder cannot be written: change the permissions",
    "SQLITE_CANTOPEN": "the file cannot be opened: check that its folder exists and can be written",
}


@contextmanager
def explained(where: str, kind: type[LogError] = LogError) -> Iterator[None]:
    """Turn SQLite's errors into a LogError that says what to try."""
    try:
        yield
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", None) or type(error).__name__
        hints = (hint for prefix, hint in _HINTS.items() if name.startswith(prefix))
        hint = next(hints, "look up the code in SQLite's documentation")
        raise kind(f"{where}: sqlite said {str(error)!r} ({name}); {hint}") from error


class EmbeddedFile:
    """Opens connections to one log file and makes the file and its tables on the first, if it may
    `make` them: whoever only reads would hide a slip of the pen in the path."""

    def __init__(self, path: Path, synchronous: Synchronous = "normal", make: bool = True) -> None:
        self.path = path
        self.where = f"embedded log {str(path)!r}"
        self._synchronous = synchronous
        self._make = make

    def require(self) -> None:
        """Raises LogError where there is no log."""
        try:
            is_there = self.path.stat().st_size > 0
        except (FileNotFoundError, NotADirectoryError):
            is_there = False
        except OSError as error:
            raise LogError(f"{self.where}: expected a log, got {error.strerror}") from error
        if not is_there:
            raise LogError(
                f"no log at {str(self.path)!r}: expected EMBEDDED_LOG_PATH to name one that is "
                "there; create it with `topics create`"
            )

    def identity(self) -> tuple[int, int] | None:
        """Which file stands at the path; None: none does."""
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def check_in_place(self, identity: tuple[int, int] | None) -> None:
        """Whether the file that a connection was opened on is still at the path: SQLite would go on
        writing to one that was removed, and it would all be gone at the end. Raises WriteError."""
        if self.identity() != identity:
            raise WriteError(
                f"{self.where}: expected the file that was opened, got "
                f"{'none' if self.identity() is None else 'another'}: it was removed or moved "
                "away; put it back, or start again"
            )

    def connect(self) -> sqlite3.Connection:
        """A connection in autocommit mode, usable by one thread at a time. Raises LogError."""
        if not self._make:
            self.require()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LogError(
                f"{self.where}: expected a folder that can be made, got {error}; "
                "choose another path"
            ) from error
        with explained(self.where):
            # Python's own statements begin no transactions (isolation_level None): ours do.
            db = sqlite3.connect(
                self.path, timeout=BUSY_S, isolation_level=None, check_same_thread=False
            )
            try:
                self._prepare(db)
            except BaseException:
                db.close()
                raise
        return db

    def _prepare(self, db: sqlite3.Connection) -> None:
        db.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
        _enter_wal(db)
        db.execute(f"PRAGMA synchronous = {self._synchronous}")
        db.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES_MAX // 2}")
        found = db.execute("PRAGMA application_id").fetchone()[0]
        if found == _APPLICATION_ID:
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version != _FORMAT:
                raise LogError(
                    f"{self.where}: expected format {_FORMAT}, got {version}; "
                    "open it with the version of streamrec that wrote it"
                )
            return
        with transaction(
            db
        ):  # Two processes may be the first: the second finds tables and is done.
            tables = db.execute(
                "SELECT count(*) FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'"
            ).fetchone()[0]
            found = db.execute("PRAGMA application_id").fetchone()[0]
            if tables and found != _APPLICATION_ID:
                raise LogError(
                    f"{self.where}: expected an embedded log, got another SQLite database; "
                    "choose another path"
                )
            for statement in _TABLES.split(";"):
                if statement.strip():
                    db.execute(statement)
            db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {_FORMAT}")


def _enter_wal(db: sqlite3.Connection) -> None:
    # Going over to WAL does not wait for the busy timeout: two first processes would collide.
    give_up = time.monotonic() + BUSY_S
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.01)
        else:
            return


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Hold the file's write lock from the start: what is read stays true until the commit."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:  # SQLite has rolled back by itself after a full disk.
            db.execute("ROLLBACK")
        raise


def checkpoint_if_large(db: sqlite3.Connection, path: Path) -> None:
    """Empty the write-ahead file once it is large: SQLite's own passive checkpoint cannot while
    some reader is always reading, and the file would grow with the log."""
    wal = path.with_name(path.name + "-wal")
    try:
        large = wal.stat().st_size >= _WAL_BYTES_MAX
    except FileNotFoundError:
        return
    if large:
        db.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()


def partition_ids(db: sqlite3.Connection, where: str, topic: str) -> dict[int, int]:
    """Row ids of a topic's partitions, by partition. Raises UnknownTopicError."""
    rows = db.execute(
        "SELECT p.partition, p.id FROM partitions p JOIN topics t ON t.id = p.topic_id"
        " WHERE t.name = ? ORDER BY p.partition",
        (topic,),
    ).fetchall()
    if not rows:
        raise unknown_topic(where, topic)
    return dict(rows)


def unknown_topic(where: str, topic: str) -> UnknownTopicError:
    return UnknownTopicError(
        f"{where}: expected topic {topic!r}, got none by that name; create it with `topics create`"
    )
