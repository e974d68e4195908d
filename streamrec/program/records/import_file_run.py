"""What `import` does: read files, say what is wrong with them, send the rest, batch by batch."""

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np

from streamrec.connectors.click_files.clicks import FileClicks
from streamrec.connectors.click_files.reading import ClickFiles
from streamrec.connectors.click_files.rejecting import ClickFileError
from streamrec.connectors.click_files.sorting import in_time_order
from streamrec.connectors.log import Log, LogWriter
from streamrec.connectors.making_topics import subject_of
from streamrec.dataflows.job.settings import Settings
from streamrec.program.file_options import FileOptions, file_errors
from streamrec.program.records.late_clicks import LateClicks
from streamrec.program.rejected_rows import RejectedRows
from streamrec.program.shared import CommandError, opened, say
from streamrec.schemas.hashing import partitions
from streamrec.schemas.wire import WireEncoder

_CHUNK = 20_000
# What is handed over and not yet acknowledged is in memory, at some 400 bytes a click.
_FLUSHED_EVERY = 60_000
_FLUSH_S = 60.0


def import_clicks(
    paths: list[Path], topic: str, options: FileOptions, *, by_time: bool, rejects: Path | None
) -> None:
    """The command, its options parsed."""
    started = time.monotonic()
    with file_errors("import"):
        files = ClickFiles(paths, options.read_as())
        for guess in files.guesses:
            say(guess)
        rows = RejectedRows(files.several, rejects, can_list=True)
        batches = rows.passing(files.batches())
        clicks = in_time_order(batches) if by_time else batches
        with closing(rows), opened() as (log, settings):
            sent = _send(log, settings, topic, clicks, files.have_rows)
    if not sent and rows.count:
        raise CommandError("import: expected clicks, got no row that is one")
    if not sent:
        say("no rows: nothing to import")
        return
    took_s = time.monotonic() - started
    say(
        f"imported {sent:,} clicks to {topic!r} in {took_s:.1f} s, "
        f"{sent / took_s:,.0f} a second; rejected {rows.count:,} rows"
    )


def _send(
    log: Log, settings: Settings, topic: str, clicks: Iterator[FileClicks], have_rows: bool
) -> int:
    """How many were sent. Where there are rows, a topic that is missing is told before they are
    read; where there are none, nothing is asked of the log."""
    sender = _Sender(log, settings, topic) if have_rows else None
    try:
        for each in clicks:
            if len(each):
                sender = sender or _Sender(log, settings, topic)
                sender.send(each)
        if sender is None:
            return 0
        sender.writer.flush(_FLUSH_S)
        if sender.late.count:
            say(sender.late.warning())
        return sender.sent
    except ClickFileError:
        if sender is not None and sender.sent:
            say(f"sent {sender.sent:,} clicks to {topic!r} before what follows")
        raise
    finally:
        if sender is not None:
            sender.writer.close()


class _Sender:
    """Encodes and writes clicks."""

    def __init__(self, log: Log, settings: Settings, topic: str) -> None:
        with closing(log.admin()) as admin:
            self._partitions = len(admin.bounds(topic))
        with closing(log.registry()) as registry:
            registered = registry.latest(subject_of(topic))
        self.late = LateClicks(log, settings, topic)
        self._encoder = WireEncoder(registered.schema, registered.id)
        self._topic = topic
        self._unflushed = 0
        self.sent = 0
        self.writer: LogWriter = log.writer()

    def send(self, clicks: FileClicks) -> None:
        for part in clicks.chunks(_CHUNK):
            encoded = self._encoder.encode(dict(part.columns))
            if encoded.failures:
                raise CommandError(f"import: {encoded.failures[0].message}")
            keys = part.keys()
            of_row = partitions(part.columns["user_id"], self._partitions)  # type: ignore[arg-type]  # strings
            for partition in np.unique(of_row).tolist():
                rows = np.flatnonzero(of_row == partition).tolist()
                self.late.add(partition, part.times_ms[rows])
                self.writer.write_columns(
                    self._topic,
                    partition,
                    [keys[row] for row in rows],
                    [encoded.values[row] for row in rows],
                )
            self.sent += len(part)
            self._unflushed += len(part)
            if self._unflushed >= _FLUSHED_EVERY:
                self.writer.flush(_FLUSH_S)
                self._unflushed = 0
