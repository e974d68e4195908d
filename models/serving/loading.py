"""`load_predictor`: a name to a model that is ready to be asked.

| name | what it is | where |
|---|---|---|
| `module:Thing` | somebody's class | `classes` |
| `module:Thing.method` | one of its predict methods | `classes` |
| `module:function` | a function, decorated or not | `functions` |
| a path: `.skops`, `.txt`, `.lgb`, `.onnx`, `.linear`, `.toml` | a trained file | `files` |
| `streamrec:propensity`, `streamrec:recommender`, an artifact's folder | ours | `ours` |
"""

import inspect
from pathlib import Path
from typing import Any

from streamrec.models.loading import BadModel
from streamrec.models.serving.classes import class_predictor, default_method, made, methods_of
from streamrec.models.serving.contract import Predictor
from streamrec.models.serving.finding import thing_named
from streamrec.models.serving.functions import function_predictor

FILE_SUFFIXES = (".skops", ".txt", ".lgb", ".onnx", ".linear", ".toml")
OURS = "streamrec"


def load_predictor(name: str, *, folder: Path | None = None) -> Predictor:
    """The model of a name. Modules and paths are found from `folder`; None: the folder in which the
    command runs. Raises BadModel, whose message says all that is missing."""
    if name.partition(":")[0] == OURS:
        from streamrec.models.serving.ours import our_predictor

        return our_predictor(name)
    if path := file_path(name, folder):
        if path.is_dir():
            from streamrec.models.serving.ours import recommender_predictor

            return recommender_predictor(path)
        from streamrec.models.serving.files import file_predictor

        return file_predictor(path)
    thing, method = thing_named(name, folder)
    if not inspect.isclass(thing) and method is None and not methods_of(thing):
        return function_predictor(name, thing)
    return class_predictor(name, thing, method)


def load_in(folder: str, name: str) -> Predictor:
    """The same from a folder, with arguments as a process of its own is told them: one method.
    Raises BadModel."""
    path = Path(folder)
    if name.partition(":")[0] != OURS and not file_path(name, path):
        thing, method = thing_named(name, path)
        methods = methods_of(thing)
        if method is None and len(methods) > 1:
            named = ", ".join(f"{name}.{each}" for each in methods)
            raise BadModel(
                f"model {name!r} expected one of {named}, since a process of its own (timeout_s, "
                "memory_mb, a shadow) answers by one method, got the class"
            )
    return load_predictor(name, folder=path)


def predictors_named(name: str, *, folder: Path | None = None) -> list[str]:
    """The names of all that a name offers: of a class with several predict methods one each, the
    name itself first; else the name. Raises BadModel."""
    if name.partition(":")[0] == OURS or file_path(name, folder):
        return [name]
    thing, method = thing_named(name, folder)
    if method is not None:
        return [name]
    # Of what was made, since a constructor may add methods.
    offering: Any = made(name, thing) if inspect.isclass(thing) else thing
    methods = methods_of(offering)
    first = default_method(offering)
    return [name, *(f"{name}.{each}" for each in methods if each != first)] if methods else [name]


def file_path(name: str, folder: Path | None) -> Path | None:
    """The path that a name is; None: it names a module."""
    path = (folder or Path.cwd()) / name
    if name.endswith(FILE_SUFFIXES) and (":" not in name or path.exists()):
        return path
    return path if ":" not in name and path.is_dir() else None


__all__ = ["BadModel", "load_in", "load_predictor", "predictors_named"]
