"""Publishing: a model's archive onto the topic `models`, in parts, and which version is in use.

Whatever is done here can be done again: what stands on the topics already is not written twice.
"""

import time
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from streamrec.connectors.log import Log, Outgoing, SchemaRegistry
from streamrec.dataflows.job.codecs import schema_of, schema_registered
from streamrec.dataflows.job.topics import MODELS
from streamrec.dataflows.learning.fetching import archive_at
from streamrec.dataflows.learning.model_events import EventLog, ModelEvent, champions
from streamrec.dataflows.learning.published import (
    CHALLENGER,
    CHAMPION,
    PINNED,
    BadPublished,
    ModelRecords,
    ModelTopics,
    PublishedModels,
    check_model_name,
    who_am_i,
)
from streamrec.models.learning.archives import Archive, BadArchive, about_json, pack_folder
from streamrec.schemas.json_codec import JsonEncoder

PART_BYTES = 512 * 1024  # Kafka's clients send no batch above a megabyte, unless they are told to
_FLUSH_S = 120.0
_EVENTS = {CHAMPION: "promoted", PINNED: "pinned"}


@dataclass(frozen=True, slots=True)
class By:
    """Who does something, why and when."""

    who: str = ""  # empty: this user, on this machine
    why: str = ""
    at_ms: int | None = None  # None: now

    @property
    def name(self) -> str:
        return self.who or who_am_i()

    @property
    def time_ms(self) -> int:
        """Unix milliseconds."""
        return int(time.time() * 1000) if self.at_ms is None else self.at_ms


class Publisher:
    """Reads the topic `models` anew for each thing that is asked, and writes to it. Close it."""

    def __init__(self, log: Log, topics: ModelTopics | None = None) -> None:
        """Raises StartError where the topics' schemas are not registered."""
        self._log = log
        self._topics = topics or ModelTopics()
        self._registry: SchemaRegistry = log.registry()
        topic = self._topics.models
        registered = schema_registered(self._registry, MODELS, topic, log.patience)
        self._encoder = JsonEncoder(MODELS.schema, registered.id)
        self.events = EventLog(log, self._registry, self._topics.events)

    def close(self) -> None:
        self._registry.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def known(self) -> PublishedModels:
        """What the topic says now. Raises UnknownTopicError, UnreachableError."""
        return load_published(self._log, self._registry, self._topics)

    def publish(
        self,
        name: str,
        archive: Archive,
        *,
        promote: str | None = CHAMPION,
        by: By = By(),
        place: str | None = None,
    ) -> str:
        """A version, which is returned; it is made champion or challenger at once, by `promote`.

        With `place`, an absolute path or URL at which the archive is, its bytes stay there. Raises
        BadPublished, BadArchive, LogError.
        """
        check_model_name(name)
        if promote not in (None, CHAMPION, CHALLENGER):
            raise BadPublished(f"promote expected champion, challenger or none, got {promote!r}")
        if place is not None and archive_at(place) != archive.content:
            raise BadArchive(f"{place} expected the archive {archive.digest}, got another")
        records = self.known().models.get(name, ModelRecords())
        version = archive.version
        if (found := records.versions.get(version)) is None:
            self._write(self._version_records(name, archive, records.next_number, by, place))
        elif found.digest != archive.digest:
            raise BadPublished(f"model {name!r}: version {version} is of another archive")
        done = {each.kind for each in self.events.read(name) if each.version == version}
        if "published" not in done:
            self.events.write(
                [ModelEvent(name, version, "published", by.name, by.time_ms, message=by.why)]
            )
        if promote == CHALLENGER and records.alias(CHALLENGER) != version:
            self._name(name, CHALLENGER, version, records, by)
        if promote == CHAMPION:
            self._choose(name, CHAMPION, version, records, by, "promoted")
        return version

    def promote(self, name: str, version: str, by: By = By()) -> str:
        """Make a version the champion; returns it in full. Raises BadPublished."""
        records = self.known().of(name)
        chosen = records.version(name, version).version
        self._choose(name, CHAMPION, chosen, records, by, "promoted", anew=True)
        return chosen

    def rollback(self, name: str, by: By = By()) -> str:
        """Make the champion before this one champion again; returns it. Raises BadPublished."""
        records = self.known().of(name)
        past = champions(self.events.read(name), name)
        present = records.alias(CHAMPION)
        if present is not None and past[-1:] != [present]:
            past.append(present)
        past = [each for each in past if each in records.versions]
        if len(past) < 2:
            raise BadPublished(f"model {name!r} expected a champion before {present}, got none")
        self._choose(name, CHAMPION, past[-2], records, by, "rolled_back")
        return past[-2]

    def pin(self, name: str, version: str, by: By = By()) -> str:
        """Let a version answer, whatever is champion; returns it in full. Raises BadPublished."""
        records = self.known().of(name)
        chosen = records.version(name, version).version
        self._choose(name, PINNED, chosen, records, by, "pinned", anew=True)
        return chosen

    def unpin(self, name: str, by: By = By()) -> str | None:
        """Let the champion answer again, which is returned. Raises BadPublished."""
        records = self.known().of(name)
        if records.alias(PINNED) is None:
            raise BadPublished(f"model {name!r} expected a pinned version, got none")
        self._choose(name, PINNED, "", records, by, "unpinned")
        return records.alias(CHAMPION)

    def _choose(
        self,
        name: str,
        alias: str,
        version: str,
        records: ModelRecords,
        by: By,
        kind: str,
        anew: bool = False,
    ) -> None:
        """Name a version, and tell of it; what has the name already is told only if it was not.
        `anew`: somebody wants it, though it has the name: one that was refused is tried again."""
        previous = records.alias(alias)
        if anew or previous != (version or None):
            self._name(name, alias, version, records, by)
        elif any(each.kind == kind and each.version == version for each in self.events.read(name)):
            return
        else:
            previous = None
        event = ModelEvent(
            name, version, kind, by.name, by.time_ms, message=by.why, previous=previous
        )
        self.events.write([event])

    def _name(self, name: str, alias: str, version: str, records: ModelRecords, by: By) -> None:
        found = records.aliases.get(alias)
        number = 1 if found is None else found.number + 1
        record = {
            "id": f"{name}@{alias}",
            "name": name,
            "version": version,
            "kind": "alias",
            "alias": alias,
            "number": number,
        }
        self._write([record | _by(by)])

    def _version_records(
        self, name: str, archive: Archive, number: int, by: By, place: str | None
    ) -> Iterable[dict[str, Any]]:
        content = b"" if place is not None else archive.content
        version, count = archive.version, -(-len(content) // PART_BYTES)
        common = {"name": name, "version": version, "digest": archive.digest} | _by(by)
        for at in range(count):
            yield common | {
                "id": f"{name}/{version}/{at}",
                "kind": "part",
                "number": at,
                "content": content[at * PART_BYTES : (at + 1) * PART_BYTES].decode("latin-1"),
            }
        yield common | {
            "id": f"{name}/{version}",
            "kind": "version",
            "number": number,
            "parts": count,
            "place": place,
            "about": about_json(archive.about).decode(),
        }

    def _write(self, records: Iterable[Mapping[str, Any]]) -> None:
        with closing(self._log.writer()) as writer:
            for record in records:
                value = self._encoder.encode(record)
                writer.write(
                    self._topics.models, [Outgoing(record["id"].encode(), value, partition=0)]
                )
            writer.flush(_FLUSH_S)


def publish(
    log: Log,
    name: str,
    folder: Path,
    about: Mapping[str, Any],
    *,
    promote: str | None = CHAMPION,
    who: str = "",
    why: str = "",
    at_ms: int | None = None,
    topics: ModelTopics | None = None,
) -> str:
    """Pack a folder's files and publish them; returns the version. `about` is what is known of it,
    JSON values only, in the place of an about.json. Done again, it changes nothing. Raises
    BadPublished, BadArchive, StartError, LogError."""
    archive = pack_folder(folder, about)
    with Publisher(log, topics) as publisher:
        return publisher.publish(name, archive, promote=promote, by=By(who, why, at_ms))


def load_published(log: Log, registry: SchemaRegistry, topics: ModelTopics) -> PublishedModels:
    """What the topic of models says now. Raises UnknownTopicError, UnreachableError."""
    found = PublishedModels(log, topics.models, lambda key: schema_of(registry, log.patience, key))
    found.load().close()
    return found


def _by(by: By) -> dict[str, Any]:
    return {"at": by.time_ms, "who": by.name, "why": by.why}


__all__ = ["PART_BYTES", "By", "Publisher", "load_published", "publish"]
