"""What the topic `models` says: versions of each model, and which of them are in use.

Parts come before the version that they make, and that before an alias that names it; so what is
known of is there. Of one key the last record counts.
"""

import getpass
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from streamrec.connectors.log import Log, Place, RawBatch
from streamrec.connectors.table import GONE, Follower, decoded
from streamrec.dataflows.job.settings import Settings
from streamrec.dataflows.job.topics import MODEL_EVENTS, MODELS
from streamrec.models.serving.contract import NAME
from streamrec.schemas.header_ids import SchemaOf
from streamrec.schemas.json_codec import JsonDecoder

CHAMPION, CHALLENGER, PINNED = "champion", "challenger", "pinned"


class BadPublished(ValueError):
    """What was asked of published models cannot be; the message says why."""


class ModelTopics(NamedTuple):
    """What the two topics are called."""

    models: str = MODELS.name
    events: str = MODEL_EVENTS.name

    @classmethod
    def of(cls, settings: Settings) -> "ModelTopics":
        """As the settings have it."""
        return cls(settings.topic(MODELS), settings.topic(MODEL_EVENTS))


@dataclass(frozen=True, slots=True)
class PublishedVersion:
    """A version of a model, without its bytes."""

    name: str
    version: str
    number: int  # of the versions of a name, from 1
    digest: str
    parts: int  # 0: the archive is at `place`
    place: str | None
    about: Mapping[str, Any]
    at_ms: int
    who: str
    why: str


@dataclass(frozen=True, slots=True)
class Alias:
    """Which version is in use as what."""

    name: str
    alias: str
    version: str  # empty: none
    number: int
    at_ms: int
    who: str
    why: str


@dataclass(slots=True)
class ModelRecords:
    """What is known of one model."""

    versions: dict[str, PublishedVersion] = field(default_factory=dict)
    aliases: dict[str, Alias] = field(default_factory=dict)
    parts: dict[str, dict[int, Place]] = field(default_factory=dict)  # by version: where each is

    def alias(self, alias: str) -> str | None:
        """The version that has an alias; None: none has."""
        found = self.aliases.get(alias)
        return found.version if found is not None and found.version else None

    @property
    def wanted(self) -> str | None:
        """The version that is to answer: what is pinned, else the champion; None: there is none."""
        return self.alias(PINNED) or self.alias(CHAMPION)

    @property
    def next_number(self) -> int:
        """Of the version that comes next."""
        return 1 + max((each.number for each in self.versions.values()), default=0)

    def version(self, name: str, text: str) -> PublishedVersion:
        """The version that a text names: itself, how it begins, its number or an alias. Raises
        BadPublished."""
        exact = self.versions.get(self.alias(text) or text)
        if exact is not None:
            return exact
        numbered = [each for each in self.versions.values() if str(each.number) == text]
        begun = [each for each in self.versions.values() if each.version.startswith(text)]
        found = numbered or begun
        if len(found) != 1:
            known = ", ".join(sorted(self.versions)) or "none"
            got = "one of several" if found else "none such"
            raise BadPublished(f"model {name!r} expected a version of {known}, got {got}: {text!r}")
        return found[0]


class PublishedModels(Follower):
    """The topic `models`, as far as it was read: `load()` takes in what there is, `follow` goes on.
    Bytes of archives are not kept, only where they stand."""

    def __init__(self, log: Log, topic: str, schema_of: SchemaOf) -> None:
        super().__init__(log, topic)
        self._decode = JsonDecoder(schema_of).decode
        self.models: dict[str, ModelRecords] = {}

    def of(self, name: str) -> ModelRecords:
        """What is known of a model. Raises BadPublished where that is nothing."""
        found = self.models.get(name)
        if found is None or not found.versions:
            known = ", ".join(sorted(self.models)) or "none"
            raise BadPublished(
                f"topic {self.topic!r} expected a model {name!r}, got {known}; "
                f"`streamrec models publish {name} PATH` publishes one"
            )
        return found

    def apply(self, batch: RawBatch) -> int:
        for row, key, value in decoded(batch, self._decode):
            if value is GONE:
                self._forget(key.decode(errors="replace"))
            else:
                self._take_in(value, Place(batch.partition, int(batch.offsets[row])))
        return len(batch)

    def _take_in(self, value: Mapping[str, Any], place: Place) -> None:
        name, version, at_ms = value["name"], value["version"], value["at"]
        records = self.models.setdefault(name, ModelRecords())
        if value["kind"] == "part":
            records.parts.setdefault(version, {})[value["number"]] = place
        elif value["kind"] == "version":
            records.versions[version] = PublishedVersion(
                name,
                version,
                value["number"],
                value["digest"] or "",
                value["parts"],
                value["place"],
                _about(value["about"]),
                at_ms,
                value["who"],
                value["why"],
            )
        elif value["kind"] == "alias" and value["alias"]:
            records.aliases[value["alias"]] = Alias(
                name,
                value["alias"],
                version,
                value["number"],
                at_ms,
                value["who"],
                value["why"],
            )

    def _forget(self, key: str) -> None:
        """A tombstone: somebody removed a record by hand."""
        name, at, alias = key.partition("@")
        if at and name in self.models:
            self.models[name].aliases.pop(alias, None)
            return
        name, _, rest = key.partition("/")
        version, _, part = rest.partition("/")
        if name not in self.models:
            return
        if part.isdecimal():
            self.models[name].parts.get(version, {}).pop(int(part), None)
        elif not part:
            self.models[name].versions.pop(version, None)


def _about(text: str | None) -> dict[str, Any]:
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def check_model_name(name: str) -> None:
    """Raises BadPublished for a name that no model can have."""
    if not NAME.fullmatch(name):
        raise BadPublished(f"model's name expected letters, digits, - and _ only, got {name!r}")


def who_am_i() -> str:
    """Who does something by hand: user@host."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a user without an entry, as in containers
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


__all__ = [
    "CHALLENGER",
    "CHAMPION",
    "PINNED",
    "Alias",
    "BadPublished",
    "ModelRecords",
    "ModelTopics",
    "PublishedModels",
    "PublishedVersion",
    "check_model_name",
    "who_am_i",
]
