"""Every setting of the dataflows, read from the environment, checked before anything connects."""

import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, create_model, field_validator, model_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from streamrec.connectors.log_settings import LogSettings
from streamrec.connectors.starts import Start, parse_start
from streamrec.dataflows.job.topics import TOPICS, Topic
from streamrec.models.kinds import KINDS, complaint_of
from streamrec.models.serving.contract import NAME
from streamrec.models.sessions.variant_specs import parse_variants
from streamrec.models.users.features import DEFAULT_WINDOWS, EVENT_TYPES, declared, parse_windows
from streamrec.services.metrics.address import DEFAULT as DEFAULT_METRICS_ADDRESS
from streamrec.services.metrics.address import parse_address

_BESIDE = {"STREAMREC_AWAY_S", "STREAMREC_DATA", "STREAMREC_PYTHON"}  # of scripts and tests
# Of HTTP services, which have settings of their own and look at these themselves.
_OF_SERVICES = ("STREAMREC_HTTP_", "STREAMREC_INGRESS_", "STREAMREC_API_")
_OF_KUBERNETES = re.compile(r"STREAMREC(_.*)?_(SERVICE_(HOST|PORT.*)|PORT(_\d+_(TCP|UDP).*)?)")


class SettingsError(Exception):
    """A setting is wrong; the message names each variable, what was expected and what it holds."""


if TYPE_CHECKING:
    _TopicNames = LogSettings
else:
    # A setting for each row of the table; `Settings.topic` is how they are asked for.
    _TopicNames = create_model(
        "TopicNames",
        __base__=LogSettings,
        **{
            row.setting: (str, Field(row.name, description=row.doc))
            for row in TOPICS
            if row.setting
        },
    )


class Settings(_TopicNames):
    """Settings of the dataflows. Each is an environment variable: `top_k` is `STREAMREC_TOP_K`.

    Where the log and the registry are keeps the names that every Kafka tool uses (LogSettings).
    """

    model_config = SettingsConfigDict(env_prefix="STREAMREC_")

    consumer_group: str = Field("streamrec", description="group under which progress is committed")

    start_from: Annotated[Start, NoDecode] = Field(
        Start("committed"),
        description="earliest, latest, committed, a time (Unix ms, ISO 8601), P:OFFSET,... or "
        "TOPIC:P:OFFSET,...",
    )
    replay: Literal["refuse", "reset", "fork"] = Field(
        "refuse",
        description="saved state when START_FROM is another than it began with: refuse; reset: put "
        "it aside; fork: begin in a directory beside it",
    )
    follow: bool = Field(True, description="go on for ever; false: stop at the end of the topic")
    lost_records: Literal["stop", "skip"] = Field(
        "stop",
        description="when retention removed clicks before they were read: stop, or skip and say so",
    )
    recommend_on: Annotated[frozenset[str], NoDecode] = Field(
        frozenset({"view"}),
        description="event types that ask for a recommendation, comma-separated",
    )
    once_s: int = Field(
        600,
        ge=0,
        description="seconds of event time for which a click's header event-id is remembered: one "
        "that comes again fails as repeated; 0: ids are not looked at",
    )
    top_k: int = Field(20, ge=1, le=200, description="items in a recommendation")

    model: str = Field(
        "artifact",
        description="what recommends: "
        + "; ".join(f"{n}: {k.doc}" for n, k in KINDS.items())
        + "; or an artifact's folder, or module:Class (docs/your-own-model.md)",
    )
    model_path: Path | None = Field(
        None, description="folder of the artifact; unset: the one that is shipped"
    )
    ranker_variants: str | None = Field(
        None,
        description="rankers that are compared over one session index, each user keeping to one: "
        "a=artifact:0.9,b=FOLDER:0.1 (name, artifact, weight)",
    )
    experiment: str = Field(
        "rankers",
        pattern=f"^{NAME.pattern}$",
        description="name of the experiment that RANKER_VARIANTS makes; another splits users anew",
    )
    log_ranker_inputs: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share of the recommendations for which the main job writes to the topic "
        "ranker-inputs what its ranker saw of each item; 0: none, and the topic need not exist",
    )
    models: str | None = Field(
        None,
        description="of dataflows.scorer: a file that lists models (.toml, .yaml), or names with "
        "commas: iris_model:Iris,fraud.skops; or pipelines of the log: pipeline:NAME,...",
    )
    learning: str | None = Field(
        None,
        description="of dataflows.labels, trainer and evaluation: a file (.toml) that says which "
        "answers are labelled, learned from and judged",
    )
    profile: str = Field(
        "development",
        description="which profile of the list of models: development, test, beta, production, or "
        "one that the file has",
    )
    into: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9._-]{1,50}$",
        description="of dataflows.scorer and dataflows.gather: topics that they write are called "
        "so behind a hyphen, as `replay --into` has it",
    )
    share_sessions: bool = Field(
        True, description="tell other processes, and the next start, what sessions held"
    )

    windows: Annotated[tuple[tuple[str, int], ...], NoDecode] = Field(
        DEFAULT_WINDOWS, description="windows over which each event type is counted"
    )
    session_history_s: int = Field(
        604_800, ge=0, description="how far back a start learns from the topic of sessions"
    )
    session_gap_s: int = Field(
        1_800, ge=1, le=10**9, description="a user's silence after which a new session begins"
    )
    session_items: int = Field(
        32, ge=2, le=256, description="last items of a session that are kept for each user"
    )
    max_ahead_s: int = Field(
        300,
        ge=0,
        le=10**9,
        description="how far a click may be ahead of the time it was written to the log",
    )

    shards: int = Field(
        8,
        ge=1,
        le=1_024,
        description="parts of the state; as many as lanes: then a click stays with one worker",
    )
    lanes: int = Field(8, ge=1, le=1_024, description="units in which topics are read and written")
    batch_messages: int = Field(4_000, ge=1, le=100_000, description="messages read in one go")
    gather_ms: int = Field(
        5, ge=0, le=1_000, description="how long messages gather while little comes in"
    )
    max_message_bytes: int = Field(
        1_000_000, ge=1_024, description="largest record written; larger ones go to errors"
    )
    tick_s: float = Field(
        1.0,
        ge=0.01,
        le=3_600,
        description="how often a dataflow with timers writes a tick: so long its outputs wait, "
        "and timers may be late",
    )
    tick_messages: int = Field(
        50_000,
        ge=1_000,
        le=10_000_000,
        description="messages between two ticks, at most, in a backlog: so many are held",
    )
    unknown_schema: Literal["wait", "error"] = Field(
        "wait",
        description="while the registry is away, records of new schema ids: wait, or go to errors",
    )
    delivery: Literal["read_back", "transactions", "at_least_once"] = Field(
        "read_back",
        description="how each output comes once: read_back: visible at once, a restart reads what "
        "is there; transactions: visible when an epoch is done, to read_committed readers (Kafka); "
        "at_least_once: a restart may repeat what came after the last snapshot",
    )
    join_s: float = Field(
        300.0,
        ge=1.0,
        description="how long a process of a cluster waits for the others to join before it ends",
    )
    lease_s: float = Field(
        10.0,
        ge=1.0,
        le=600.0,
        description="a process that holds a recovery directory or a log, and is on another machine "
        "and silent for so long, has gone; a second start waits so long for the first to end",
    )
    state_dir: Path | None = Field(
        None, description="where shards keep their state; unset: `state` in the recovery directory"
    )

    store: str = Field(
        "data/store",
        description="where dataflows.store keeps the newest recommendation of each user: a folder, "
        "or redis://HOST:PORT/DB (rediss:// with TLS, unix://PATH), Valkey too",
    )

    status_s: float = Field(
        30.0, ge=0, description="seconds between lines of status: rate, lag, errors; 0: none"
    )
    metrics_address: str = Field(
        DEFAULT_METRICS_ADDRESS,
        description="where each process serves /metrics and /health: HOST:PORT, port 0: any that "
        "is free, which the log and `streamrec top` tell; of several processes each takes the next "
        "free port; off: nowhere",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="what is logged; DEBUG: tracebacks too"
    )
    log_format: Literal["text", "json"] = Field(
        "text", description="lines for people, or an object a line"
    )

    @field_validator("metrics_address")
    @classmethod
    def _check_metrics_address(cls, value: str) -> str:
        parse_address(value)
        return value

    @model_validator(mode="after")
    def _check_delivery(self) -> Self:
        if self.delivery == "transactions" and self.backend == "embedded":
            raise ValueError(
                "STREAMREC_DELIVERY expected read_back on the embedded log, which has no "
                "transactions, got 'transactions'; set KAFKA_BOOTSTRAP_SERVERS or read_back"
            )
        return self

    @model_validator(mode="after")
    def _check_model_of_variants(self) -> Self:
        if self.ranker_variants is not None and self.model != "artifact":
            raise ValueError(
                "STREAMREC_MODEL expected artifact beside STREAMREC_RANKER_VARIANTS, "
                f"got {self.model!r}"
            )
        return self

    @field_validator("log_level", mode="before")
    @classmethod
    def _parse_level(cls, value: Any) -> Any:
        return value.upper() if isinstance(value, str) else value

    @field_validator("model")
    @classmethod
    def _check_model(cls, value: str) -> str:
        if complaint := complaint_of(value):
            raise ValueError(complaint)
        return value

    @field_validator("ranker_variants")
    @classmethod
    def _check_variants(cls, value: str | None) -> str | None:
        if value is not None:
            parse_variants(value)
        return value

    @field_validator("start_from", mode="before")
    @classmethod
    def _parse_start(cls, value: Any) -> Any:
        return parse_start(value) if isinstance(value, str) else value

    @field_validator("windows", mode="before")
    @classmethod
    def _parse_windows(cls, value: Any) -> Any:
        return parse_windows(value) if isinstance(value, str) else value

    @field_validator("windows")
    @classmethod
    def _check_windows(cls, value: tuple[tuple[str, int], ...]) -> tuple[tuple[str, int], ...]:
        declared(value)  # what is declared may be made of a window that is not there
        return value

    @field_validator("recommend_on", mode="before")
    @classmethod
    def _parse_event_types(cls, value: Any) -> Any:
        names = (
            frozenset(name.strip() for name in value.split(","))
            if isinstance(value, str)
            else value
        )
        for name in sorted(names):
            if name not in EVENT_TYPES:
                raise ValueError(f"expected event types of {', '.join(EVENT_TYPES)}, got {name!r}")
        return names

    def topic(self, topic: Topic) -> str:
        """What a topic is called here. One that a dataflow of the user's own declares has its
        variable too: `cart-counts` is `STREAMREC_CART_COUNTS_TOPIC`."""
        if topic.beside is not None:
            return self.topic(topic.beside) + topic.name.removeprefix(topic.beside.name)
        if topic.setting is None:
            return topic.name
        if topic in TOPICS:
            return str(getattr(self, topic.setting))
        return os.environ.get(f"STREAMREC_{topic.setting.upper()}") or topic.name

    def topics(self) -> dict[str, Topic]:
        """Our topics by what they are called here."""
        return {self.topic(row): row for row in TOPICS}


def load_settings(**given: Any) -> Settings:
    """Read the environment; keyword arguments win over it. Raises SettingsError.

    >>> try:
    ...     load_settings(top_k=0)
    ... except SettingsError as error:
    ...     print(error)
    STREAMREC_TOP_K: input should be greater than or equal to 1, got 0
    """
    try:
        return Settings(**given)
    except ValidationError as error:
        raise SettingsError("; ".join(_explain(e) for e in error.errors())) from None


def group_of_reader(group: str, reader: str) -> str:
    """The consumer group of one that reads for itself, of several in a dataflow.

    >>> group_of_reader("streamrec-scorer", "iris:1:0")
    'streamrec-scorer-iris.1.0'
    """
    return f"{group}-{reader.replace(':', '.')}" if reader else group


def variable_of(name: str) -> str:
    """The environment variable of a setting."""
    alias = Settings.model_fields[name].validation_alias
    assert alias is None or isinstance(alias, str)
    return alias or f"STREAMREC_{name.upper()}"


def unknown_settings(environ: Mapping[str, str]) -> list[str]:
    """What each variable that looks like a setting and is none may have been meant for.

    Topics of the user's own dataflows, and what Kubernetes sets for a service of this name, are
    passed over.

    >>> unknown_settings({"STREAMREC_TOPK": "5", "STREAMREC_SERVICE_HOST": "10.0.0.1"})
    ['STREAMREC_TOPK is no setting; did you mean STREAMREC_TOP_K?']
    """
    known = {*map(variable_of, Settings.model_fields), *_BESIDE}
    told = []
    for name in sorted(set(environ) - known):
        if not name.startswith("STREAMREC_") or _OF_KUBERNETES.fullmatch(name):
            continue
        if name.startswith(_OF_SERVICES):
            continue
        near = _near(name, known)
        if near or not name.endswith("_TOPIC"):
            meant = f"; did you mean {near[0]}?" if near else "; `streamrec settings` lists them"
            told.append(f"{name} is no setting{meant}")
    return told


def _near(name: str, known: set[str]) -> list[str]:
    """The setting that a name may stand for. Names of topics are alike in what all of them have: a
    dataflow's own `offers` is no misspelt `scores`."""
    if not name.endswith("_TOPIC"):
        return difflib.get_close_matches(name, known, 1, 0.8)
    stems = {_stem(each): each for each in known if each.endswith("_TOPIC")}
    return [stems[stem] for stem in difflib.get_close_matches(_stem(name), stems, 1, 0.8)]


def _stem(name: str) -> str:
    return name.removeprefix("STREAMREC_").removesuffix("_TOPIC")


def _explain(error: Any) -> str:
    name = ".".join(str(part) for part in error["loc"])
    if name in Settings.model_fields:
        name = f"STREAMREC_{name.upper()}"
    message = error["msg"].removeprefix("Value error, ")
    if not name:
        return str(message)
    message = message[0].lower() + message[1:]
    if "got" in message:
        return f"{name}: {message}"
    secret = "USER_INFO" in name or "OPTION" in name
    return f"{name}: {message}, got {'a secret' if secret else repr(error['input'])}"
