"""Appends to the embedded log, and tells of each message where it stands.

What is begun is written before `begin` returns, in one transaction: some 50 microseconds and the
records' own. The file's busy timeout bounds the wait for writers of other processes.
"""

import logging
import sqlite3
import time
from collections.abc import Sequence

from streamrec.connectors.embedded.claims import Claims
from streamrec.connectors.embedded.file import (
    EmbeddedFile,
    checkpoint_if_large,
    explained,
    transaction,
)
from streamrec.connectors.embedded.topics import TopicRules, load_topic
from streamrec.connectors.embedded.writer import TOPIC_AGE_S, Pending, append_part
from streamrec.connectors.log import Appending, LogError, Outgoing, Place, WriteError
from streamrec.connectors.partitioner import partition_for_key
from streamrec.connectors.sizes import size_of

_logger = logging.getLogger(__name__)


class EmbeddedAppender:
    """A LogAppender."""

    def __init__(self, file: EmbeddedFile, claims: Claims | None = None) -> None:
        self._file = file
        self._claims = claims
        self._where = file.where
        self._db = file.connect()
        self._identity = file.identity()
        self._topics: dict[str, tuple[float, TopicRules]] = {}
        self._sticky = 0
        self._closed = False

    def prepare(self, topic: str) -> None:
        self._rules(topic)

    def begin(self, messages: Sequence[tuple[str, Outgoing]]) -> Appending:
        if self._closed:
            raise WriteError(f"{self._where}: the appender is closed")
        appending = Appending(len(messages))
        parts: dict[int, tuple[Pending, list[int]]] = {}  # by the partition's id
        now_ms = time.time_ns() // 1_000_000
        self._sticky += 1
        for index, (topic, message) in enumerate(messages):
            try:
                self._gather(parts, index, topic, message, now_ms)
            except LogError as error:
                appending.settle(index, error)
        if parts:
            self._write(parts, appending)
        return appending

    def wait(self, appending: Appending, timeout_s: float) -> bool:
        return appending.is_settled

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._db.close()

    def _gather(
        self,
        parts: dict[int, tuple[Pending, list[int]]],
        index: int,
        topic: str,
        message: Outgoing,
        now_ms: int,
    ) -> None:
        """Raises LogError."""
        rules = self._rules(topic)
        key, value, headers, ms, partition = message
        if partition is None:
            count = len(rules.ids)
            partition = self._sticky % count if key is None else partition_for_key(key, count)
        size = size_of(key, value, headers)
        rules.check(partition, size)
        row_id = rules.ids[partition]
        if row_id not in parts:
            parts[row_id] = Pending(rules, partition), []
        pending, indexes = parts[row_id]
        pending.add(key, value, headers, now_ms if ms is None else ms, size)
        indexes.append(index)

    def _write(self, parts: dict[int, tuple[Pending, list[int]]], appending: Appending) -> None:
        places: list[tuple[int, Place]] = []
        try:
            with explained(self._where, WriteError), transaction(self._db):
                self._file.check_in_place(self._identity)
                if self._claims is not None:
                    self._claims.check(self._db)
                for row_id, (part, indexes) in parts.items():
                    first = append_part(self._db, self._where, row_id, part)
                    places += [
                        (index, Place(part.partition, first + at))
                        for at, index in enumerate(indexes)
                    ]
        except LogError as error:
            appending.settle_rest(error)
            return
        for index, place in places:
            appending.settle(index, place)
        try:
            checkpoint_if_large(self._db, self._file.path)
        except sqlite3.Error as error:  # what was written stands; the next one tries again
            _logger.warning(
                "%s: the write-ahead file could not be taken in: %s", self._where, error
            )

    def _rules(self, topic: str) -> TopicRules:
        """Raises LogError."""
        now_s = time.monotonic()
        known = self._topics.get(topic)
        if known is not None and known[0] > now_s:
            return known[1]
        with explained(self._where):
            rules = load_topic(self._db, self._where, topic)
        self._topics[topic] = (now_s + TOPIC_AGE_S, rules)
        return rules


__all__ = ["EmbeddedAppender"]
