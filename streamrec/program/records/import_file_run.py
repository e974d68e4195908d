"""What `import` does: read a file, say what is wrong with it, send the rest."""

import time
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from streamrec.connectors.click_files.clicks import FileClicks, load
from streamrec.connectors.click_files.formats import FileForm
from streamrec.connectors.click_files.meaning import EVENT_TYPES, Meaning
from streamrec.connectors.click_files.names import Names
from streamrec.connectors.click_files.rejecting import ClickFileError, Rejected
from streamrec.connectors.log import Log, LogWriter
from streamrec.connectors.making_topics import subject_of
from streamrec.connectors.partitioner import partition_for_key
from streamrec.program.shared import CommandError, UsageError, opened, say
from streamrec.schemas.wire import WireEncoder

_CHUNK = 20_000
_FLUSH_S = 60.0
_SHOWN_MAX = 20


def import_clicks(
    file: Path,
    topic: str,
    form: FileForm,
    given: Names,
    meaning: Meaning,
    *,
    by_time: bool,
    rejects: Path | None,
) -> None:
    """The command, its options parsed."""
    started = time.monotonic()
    try:
        names, clicks = load(file, form, given, meaning, by_time)
    except ClickFileError as error:
        raise UsageError(f"import {file.name}: {error}") from None
    say(f"columns: {names}")
    _report(clicks, rejects)
    if not len(clicks):
        raise CommandError(f"import {file.name}: expected clicks, got none that is good")
    with opened() as (log, _):
        _send(log, topic, clicks)
    took_s = time.monotonic() - started
    say(
        f"imported {len(clicks):,} clicks to {topic!r} in {took_s:.1f} s, "
        f"{len(clicks) / took_s:,.0f} a second; rejected {len(clicks.rejected):,} rows"
    )


def parse_mapping(text: str | None) -> dict[str, str]:
    pairs = {}
    for part in text.split(",") if text else ():
        theirs, _, ours = part.partition("=")
        if ours not in EVENT_TYPES:
            raise UsageError(f"--map expected NAME={'|'.join(EVENT_TYPES)},..., got {part!r}")
        pairs[theirs] = ours
    return pairs


def _report(clicks: FileClicks, path: Path | None) -> None:
    for name, count in clicks.unknown_types.items():
        say(f"event type {name!r} taken as other in {count:,} rows; see --map")
    for rejected in clicks.rejected[:_SHOWN_MAX]:
        say(_line(rejected))
    if (more := len(clicks.rejected) - _SHOWN_MAX) > 0:
        say(f"and {more:,} more rows rejected; --rejects FILE lists all")
    if path is not None:
        path.write_text("".join(f"{_line(r)}\n" for r in clicks.rejected), encoding="utf-8")


def _line(rejected: Rejected) -> str:
    return f"line {rejected.row}: {rejected.message}"


def _send(log: Log, topic: str, clicks: FileClicks) -> None:
    with closing(log.admin()) as admin:
        partitions = len(admin.bounds(topic))
    with closing(log.registry()) as registry:
        registered = registry.latest(subject_of(topic))
    encoder = WireEncoder(registered.schema, registered.id)
    # The partition is reckoned once a user.
    codes, keys = clicks.numbered("user_id")
    by_user = np.array([partition_for_key(key, partitions) for key in keys])
    with closing(log.writer()) as writer:
        for part, columns in clicks.chunks(_CHUNK):
            encoded = encoder.encode(columns)
            if encoded.failures:
                raise CommandError(f"import: {encoded.failures[0].message}")
            _write(writer, topic, by_user[codes[part]], codes[part], keys, encoded.values)
        writer.flush(_FLUSH_S)


def _write(
    writer: LogWriter,
    topic: str,
    partitions: NDArray[np.int64],
    codes: NDArray[np.int64],
    keys: list[bytes],
    values: list[bytes],
) -> None:
    for partition in np.unique(partitions).tolist():
        rows = np.flatnonzero(partitions == partition)
        writer.write_columns(
            topic,
            partition,
            [keys[code] for code in codes[rows].tolist()],
            [values[row] for row in rows.tolist()],
        )
