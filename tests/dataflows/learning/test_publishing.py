import random
from contextlib import closing
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from streamrec.connectors.log import Log, Outgoing
from streamrec.connectors.reading import read_all
from streamrec.dataflows.job.start_error import StartError
from streamrec.dataflows.learning.fetching import archive_of, folder_of
from streamrec.dataflows.learning.published import BadPublished, ModelTopics, PublishedModels
from streamrec.dataflows.learning.publishing import PART_BYTES, By, Publisher, publish
from streamrec.models.learning.archives import Archive, BadArchive, files_of, pack
from tests.dataflows.learning.published_models import model_folder, model_topics


def archive(number: int, size: int = 10) -> Archive:
    content = random.Random(number).randbytes(size)
    return pack({"model.bin": content})


def aliases(known: PublishedModels, name: str = "m") -> dict[str, str]:
    return {alias: found.version for alias, found in known.of(name).aliases.items()}


def test_a_folder_is_published_in_parts_and_comes_back(
    log: Log, topic_name: str, tmp_path: Path
) -> None:
    topics = model_topics(log, topic_name)
    content = random.Random(1).randbytes(2 * PART_BYTES + 7)
    version = publish(
        log,
        "m",
        model_folder(tmp_path / "m", content),
        {"metrics": {"auc": 0.9}},
        who="me",
        why="better",
        at_ms=17,
        topics=topics,
    )
    with Publisher(log, topics) as publisher, closing(log.registry()) as registry:
        records = publisher.known().of("m")
        found = records.versions[version]
        assert (found.number, found.parts, found.about) == (1, 3, {"metrics": {"auc": 0.9}})
        assert (found.who, found.why, found.at_ms) == ("me", "better", 17)
        assert records.wanted == version
        folder = folder_of(log, registry, topics.models, found, records, tmp_path / "cache")
        assert (folder / "model.bin").read_bytes() == content
        told = [(e.kind, e.version, e.who, e.message, e.at_ms) for e in publisher.events.read("m")]
    assert told == [(k, version, "me", "better", 17) for k in ("published", "promoted")]


def test_publishing_again_changes_nothing_and_says_the_version(log: Log, topic_name: str) -> None:
    topics = model_topics(log, topic_name)
    with Publisher(log, topics) as publisher:
        version = publisher.publish("m", archive(1))
        before = [len(list(read_all(log, topic))) for topic in topics]
        assert publisher.publish("m", archive(1)) == version
    assert [len(list(read_all(log, topic))) for topic in topics] == before


def test_an_alias_names_the_version_that_was_chosen_last(
    embedded_log: Log, topic_name: str
) -> None:
    with Publisher(embedded_log, model_topics(embedded_log, topic_name)) as publisher:
        one, two = (publisher.publish("m", archive(number)) for number in (1, 2))
        three = publisher.publish("m", archive(3), promote="challenger")
        assert aliases(publisher.known()) == {"champion": two, "challenger": three}
        assert publisher.promote("m", "1", By("me")) == one  # by its number
        assert publisher.rollback("m") == two
        assert publisher.rollback("m") == one
        with pytest.raises(BadPublished, match=f"expected a champion before {one}, got none"):
            publisher.rollback("m")
        assert publisher.pin("m", three[:6]) == three
        assert publisher.known().of("m").wanted == three
        assert publisher.unpin("m") == one
        assert publisher.known().of("m").wanted == one
        kinds = [(each.kind, each.version, each.previous) for each in publisher.events.read("m")]
    assert kinds == [
        ("published", one, None),
        ("promoted", one, None),
        ("published", two, None),
        ("promoted", two, one),
        ("published", three, None),
        ("promoted", one, two),
        ("rolled_back", two, one),
        ("rolled_back", one, two),
        ("pinned", three, None),
        ("unpinned", "", three),
    ]


def test_what_cannot_be_chosen_is_said(embedded_log: Log, topic_name: str) -> None:
    with Publisher(embedded_log, model_topics(embedded_log, topic_name)) as publisher:
        with pytest.raises(BadPublished, match="expected a model 'm', got none; `streamrec models"):
            publisher.promote("m", "1")
        with pytest.raises(BadPublished, match="letters, digits, - and _ only, got 'a/b'"):
            publisher.publish("a/b", archive(1))
        version = publisher.publish("m", archive(1), promote=None)
        assert publisher.known().of("m").wanted is None
        with pytest.raises(BadPublished, match=f"version of {version}, got none such: 'zz'"):
            publisher.promote("m", "zz")
        with pytest.raises(BadPublished, match="expected a pinned version, got none"):
            publisher.unpin("m")


def test_a_missing_or_altered_part_is_told(embedded_log: Log, topic_name: str) -> None:
    log, topics = embedded_log, model_topics(embedded_log, topic_name)
    big = archive(1, 2 * PART_BYTES)
    with Publisher(log, topics) as publisher, closing(log.registry()) as registry:
        version = publisher.publish("m", big)
        records = publisher.known().of("m")
        found = records.versions[version]

        def content(version: Any = found) -> bytes:
            return archive_of(log, registry, topics.models, version, publisher.known().of("m"))

        assert content() == big.content
        with pytest.raises(BadArchive, match=f"expected SHA-256 {'0' * 64}, got {big.digest}"):
            content(replace(found, digest="0" * 64))
        with closing(log.writer()) as writer:
            key = f"m/{version}/1".encode()
            writer.write(topics.models, [Outgoing(key, None, partition=0)])
        with pytest.raises(BadArchive, match="expected 3 parts, got none of number 1"):
            content()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


def test_an_archive_stays_at_its_path_or_url(
    embedded_log: Log, topic_name: str, tmp_path: Path
) -> None:
    log, topics = embedded_log, model_topics(embedded_log, topic_name)
    one = archive(1)
    path = tmp_path / "one.zip"
    path.write_bytes(one.content)

    def handler(*args: Any) -> _Quiet:
        return _Quiet(*args, directory=str(tmp_path))

    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, daemon=True).start()
    with Publisher(log, topics) as publisher, closing(log.registry()) as registry:
        for name, place in (
            ("path", str(path)),
            ("url", f"http://127.0.0.1:{server.server_port}/one.zip"),
        ):
            version = publisher.publish(name, one, place=place)
            records = publisher.known().of(name)
            found = records.versions[version]
            assert (found.parts, found.place) == (0, place)
            assert archive_of(log, registry, topics.models, found, records) == one.content
        path.write_bytes(archive(2).content)
        with pytest.raises(BadArchive, match=f"expected SHA-256 {one.digest}"):
            archive_of(log, registry, topics.models, found, records)
        with pytest.raises(BadArchive, match="expected the archive"):
            publisher.publish("other", one, place=str(path))
        with pytest.raises(BadArchive, match="absolute path or an http"):
            publisher.publish("other", one, place="one.zip")
        server.shutdown()
        server.server_close()
        with pytest.raises(BadArchive, match="expected an archive, got"):
            archive_of(log, registry, topics.models, found, records)
    assert files_of(one.content)


def test_topics_that_were_not_made_are_told(embedded_log: Log) -> None:
    with pytest.raises(StartError, match="run `streamrec topics create`"):
        Publisher(embedded_log, ModelTopics("nothing", "none"))
