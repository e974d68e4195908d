"""Who writes the embedded log under a name: asked in the transaction that writes."""

from contextlib import closing
from pathlib import Path

import pytest

from streamrec.connectors.embedded.log import EmbeddedLog
from streamrec.connectors.leases.holder import Claim
from streamrec.connectors.log import Outgoing, TopicSpec, WriteError
from streamrec.connectors.reading import read_all

CLAIM = Claim(0, "1", 3_600.0)


def test_who_was_replaced_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite"
    first, second = EmbeddedLog(path), EmbeddedLog(path)
    with closing(first.admin()) as admin:
        admin.create(TopicSpec("answers", 1))
    held = first.lease("group.flow", CLAIM, None, lambda message: None)
    held.claim()
    writer = first.writer()
    writer.write("answers", [Outgoing(None, b"before")])
    writer.flush(10.0)

    held.leave()  # the lock only: the one that wrote still has its writer
    second.lease("group.flow", CLAIM, None, lambda message: None).claim()
    writer.write("answers", [Outgoing(None, b"after")])

    with pytest.raises(WriteError, match=r"'group.flow', process 0: another instance"):
        writer.flush(10.0)
    with closing(second.writer()) as successor:
        successor.write("answers", [Outgoing(None, b"successor")])
    values = [record.value for record in read_all(second, "answers")]
    assert values == [b"before", b"successor"]


def test_others_write_as_ever(tmp_path: Path) -> None:
    """Another group, a peer's slot, and the command line, which holds nothing."""
    path = tmp_path / "log.sqlite"
    with closing(EmbeddedLog(path).admin()) as admin:
        admin.create(TopicSpec("answers", 1))
    logs = [EmbeddedLog(path) for _ in range(4)]
    claims = [("a.flow", 0), ("a.flow", 1), ("b.flow", 0)]
    for log, (name, slot) in zip(logs, claims, strict=False):
        log.lease(name, Claim(slot, "2", 3_600.0), None, lambda message: None).claim()

    for log in logs:
        with closing(log.writer()) as writer:
            writer.write("answers", [Outgoing(None, b"one")])

    assert len(list(read_all(logs[0], "answers"))) == 4
