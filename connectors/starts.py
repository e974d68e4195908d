"""Where a topic is begun to be read, as people say it and as it is remembered."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from streamrec.connectors.log import LogAdmin, LogError
from streamrec.connectors.written_once import write_once
from streamrec.schemas.timestamps import iso_ms

Positions = dict[int, int]  # partition to the offset of the next message

_PLACE = re.compile(r"(?:(\d*[A-Za-z._-][A-Za-z0-9._-]*):)?(\d+):(\d+)")  # no number is a topic


@dataclass(frozen=True, slots=True)
class Start:
    """Where to begin a partition that no snapshot knows.

    `committed` begins at the group's committed offset, and at the low end without one.
    """

    kind: Literal["earliest", "latest", "committed", "timestamp", "offsets"] = "committed"
    timestamp_ms: int = 0
    offsets: Mapping[int, int] = field(default_factory=dict)  # of topics that are not below
    by_topic: Mapping[str, Mapping[int, int]] = field(default_factory=dict)

    def text(self) -> str:
        """As `parse_start` reads it.

        >>> Start("offsets", offsets={3: 5, 0: 17}, by_topic={"clicks": {1: 2}}).text()
        '0:17,3:5,clicks:1:2'
        """
        if self.kind == "timestamp":
            return str(self.timestamp_ms)
        if self.kind == "offsets":
            places = [f"{p}:{offset}" for p, offset in sorted(self.offsets.items())]
            for topic, offsets in sorted(self.by_topic.items()):
                places += [f"{topic}:{p}:{offset}" for p, offset in sorted(offsets.items())]
            return ",".join(places)
        return self.kind

    def offsets_of(self, topic: str) -> Mapping[int, int]:
        """Where partitions of a topic begin; those that are not there at the low end."""
        return self.by_topic.get(topic, self.offsets)


def parse_start(text: str) -> Start:
    """Read `earliest`, `latest`, `committed`, a Unix time in ms or ISO 8601, or `P:OFFSET,...`,
    where `TOPIC:P:OFFSET` holds for one of several topics.

    Raises ValueError that says what was expected.

    >>> parse_start("0:17,3:5").offsets
    {0: 17, 3: 5}
    >>> parse_start("clicks:0:17,outcomes:0:3,outcomes:1:4").by_topic
    {'clicks': {0: 17}, 'outcomes': {0: 3, 1: 4}}
    >>> parse_start("2026-01-01T00:00:00+00:00").timestamp_ms
    1767225600000
    """
    if text in ("earliest", "latest", "committed"):
        return Start(text)  # type: ignore[arg-type]  # narrowed by the test above
    if text.isdigit():
        return Start("timestamp", timestamp_ms=int(text))
    places = [_PLACE.fullmatch(part.strip()) for part in text.split(",")]
    if all(places):
        offsets: dict[int, int] = {}
        by_topic: dict[str, dict[int, int]] = {}
        for place in places:
            assert place is not None
            topic, partition, offset = place.groups()
            own = offsets if topic is None else by_topic.setdefault(topic, {})
            own[int(partition)] = int(offset)
        return Start("offsets", offsets=offsets, by_topic=by_topic)
    try:
        return Start("timestamp", timestamp_ms=iso_ms(text))
    except ValueError:
        raise ValueError(
            "start expected earliest, latest, committed, a time (Unix ms or ISO 8601) or "
            f"PARTITION:OFFSET,... or TOPIC:PARTITION:OFFSET,..., got {text!r}"
        ) from None


def positions_at(start: Start, admin: LogAdmin, group: str, topic: str) -> Positions:
    """Where each partition of a topic begins now."""
    bounds = admin.bounds(topic)
    low = {p: bound.low for p, bound in bounds.items()}
    if start.kind == "latest":
        return {p: bound.high for p, bound in bounds.items()}
    if start.kind == "timestamp":
        return admin.offsets_at(topic, start.timestamp_ms)
    if start.kind == "offsets":
        offsets = start.offsets_of(topic)
        return {p: offsets.get(p, low[p]) for p in bounds}
    if start.kind == "committed":
        committed = admin.committed(group, topic)
        return {p: committed.get(p, low[p]) for p in bounds}
    return low


def check_identity(path: Path, admin: LogAdmin, topic: str) -> None:
    """Remember which topic saved state goes by, in a file beside what else it knows of it. Raises
    LogError for another of the same name: its offsets mean other records, and none of them would be
    told from those that were read."""
    found = admin.identity(topic)
    if found is None:
        return
    held = json.loads(write_once(path, lambda: json.dumps(found).encode()))
    if held != found:
        raise LogError(
            f"topic {topic!r} expected to be the one that the saved state knows ({held}, by "
            f"{path}), got another that was made since ({found}); begin with a new recovery "
            "directory (-r)"
        )


@dataclass(frozen=True, slots=True)
class SourceStart:
    """Where a topic's partitions begin that no snapshot knows: found once, then read from disk."""

    path: Path

    def check(self, admin: LogAdmin, topic: str) -> None:
        """Raises LogError where the topic is not the one that was begun."""
        check_identity(self.path.with_suffix(".id"), admin, topic)

    def __call__(self, start: Start, admin: LogAdmin, group: str, topic: str) -> Positions:
        def found() -> bytes:
            positions = positions_at(start, admin, group, topic)
            offsets = {str(p): offset for p, offset in positions.items()}
            return json.dumps({"start": start.text(), "offsets": offsets}).encode()

        recorded = json.loads(write_once(self.path, found))
        return {int(partition): offset for partition, offset in recorded["offsets"].items()}


__all__ = ["Positions", "SourceStart", "Start", "parse_start", "positions_at"]
