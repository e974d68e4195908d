"""What `STREAMREC_MODEL` names, made: a kind, an artifact's folder, or somebody's class."""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from streamrec import models
from streamrec.models.artifact import BadArtifact
from streamrec.models.contract import ModelInfo, Recommender, scope_of
from streamrec.models.kinds import KINDS, complaint_of
from streamrec.models.sessions.learned import LearnedLog
from streamrec.models.sessions.model import SessionModel
from streamrec.models.sessions.recommender import SessionRecommender
from streamrec.user_code import told

SHIPPED_MODEL = Path(models.__file__).parent / "artifacts" / "default"


class BadModel(ValueError):
    """A name that stands for no model; the message says what is missing."""


class ModelOptions(NamedTuple):
    """What a kind may want to know."""

    path: Path | None = None  # folder of the artifact; None: the one that is shipped
    has_history: bool = False  # the topic of sessions holds clicks that will be learned


_DEFAULTS = ModelOptions()


class Model(NamedTuple):
    """What recommends in a process."""

    shared: Recommender | None  # one of the process, which learns from the topic of sessions
    of_shard: Callable[[], Any] | None = None  # makes one of a shard; None: the shared one answers
    learned: LearnedLog | None = None  # clicks that the shared one knows and must not learn again

    def for_shard(self) -> Any:
        """The recommender that answers a new shard."""
        return self.shared if self.of_shard is None else self.of_shard()


def load_model(name: str, options: ModelOptions = _DEFAULTS) -> Model:
    """The model of a name. Raises BadModel, BadArtifact."""
    if name in KINDS:
        kind = KINDS[name]
        made: Model = getattr(importlib.import_module(kind.module), kind.function)(options)
        return made
    if complaint := complaint_of(name):
        raise BadModel(f"model {complaint}")
    if ":" not in name:
        return trained(options._replace(path=Path(name)))
    make = class_named(name)
    first = make()
    if scope_of(first) == "process":
        return Model(first)
    return Model(None, make)


def trained(options: ModelOptions) -> Model:
    """The trained ranker over an index. Raises BadArtifact.

    The index is the one that training left, where the artifact says which clicks it has learned:
    a flow passes those over. Where it does not say, the index is kept only where the topic of
    sessions holds none; else it starts empty, so that no click is learned twice.
    """
    found = SessionRecommender.load(options.path or SHIPPED_MODEL)
    if options.path is not None and found.learned is not None:
        return Model(SessionModel(found), learned=found.learned)
    if options.path is not None and not options.has_history:
        return Model(SessionModel(found))
    empty = SessionRecommender(
        bounds=found.bounds,
        weights=found.weights,
        ranker=found.ranker,
        methods=found.methods,
        candidates=found.slots,
        user_features=found.info.user_features,
    )
    empty.info = found.info
    return Model(SessionModel(empty))


def untrained(options: ModelOptions) -> Model:
    """The untrained blend, which learns as it goes."""
    return Model(SessionModel(SessionRecommender()))


def class_named(name: str) -> Callable[[], Any]:
    """`module:Class`, found from the folder in which the command runs; what it makes without
    arguments must be a recommender. Raises BadModel that says what is missing."""
    module_name, _, class_name = name.partition(":")
    found = import_user_module(module_name)
    make = getattr(found, class_name, None)
    if not callable(make):
        held = ", ".join(n for n in vars(found) if callable(getattr(found, n)) and n[0] != "_")
        raise BadModel(
            f"model {name!r} expected a class or function {class_name!r} in "
            f"{getattr(found, '__file__', None) or module_name}, "
            f"got none; it holds {held or 'none'}"
        )
    return lambda: checked(name, make)


def checked(name: str, make: Callable[[], Any]) -> Any:
    """What `make` makes, if it is a recommender. Raises BadModel."""
    try:
        made = make()
    except (Exception, SystemExit) as error:  # user code: the model cannot be had
        raise BadModel(
            f"model {name!r} could not be made without arguments: {told(error)}"
        ) from error
    scope = scope_of(made)
    if scope not in ("process", "shard"):
        raise BadModel(f"model {name!r}: scope expected 'process' or 'shard', got {scope!r}")
    wanted = ["recommend", "learn"]
    if scope == "shard":
        wanted += ["state", "restore"]
    missing = [each for each in wanted if not hasattr(made, each)]
    if missing:
        raise BadModel(
            f"model {name!r} expected {', '.join(wanted)} (models/contract.py), got no "
            + ", ".join(missing)
        )
    check_info(name, made)
    return made


def check_info(name: str, made: Any) -> None:
    """Raises BadModel where what a recommender says of itself cannot stand in a record."""
    try:
        info = made.info
    except Exception as error:  # user code, maybe a property
        raise BadModel(
            f"model {name!r}: info expected a ModelInfo, raised {told(error)}"
        ) from error
    if not isinstance(info, ModelInfo):
        raise BadModel(f"model {name!r}: info expected a ModelInfo, got {info!r}")
    texts = [info.name, info.version, *info.methods, *info.features, *info.user_features]
    for text in texts:
        if not isinstance(text, str):
            raise BadModel(f"model {name!r}: info expected strings, got {text!r} in {info!r}")


def import_user_module(name: str) -> Any:
    """Import a module of the user's, first of all from the folder in which the command runs, also
    where an installed script was started. Raises BadModel."""
    here = str(Path.cwd())
    if sys.path[:1] not in ([""], [here]):
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:  # user code: a syntax error, anything
        raise BadModel(f"module {name!r} cannot be imported from {here}: {told(error)}") from error


__all__ = ["SHIPPED_MODEL", "BadArtifact", "BadModel", "Model", "ModelOptions", "load_model"]
