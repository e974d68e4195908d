"""User code found by its name: `module:Thing`, first of all in the user's own folder."""

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from streamrec.models.loading import BadModel
from streamrec.user_code import told


def thing_named(name: str, folder: Path | None = None) -> tuple[Any, str | None]:
    """What `module:Thing` or `module:Thing.method` names, and the method where one is named.
    Raises BadModel."""
    module_name, _, path = name.partition(":")
    if not module_name or not path:
        raise BadModel(f"model {name!r} expected module:Thing, or a file's path")
    module = user_module(module_name, folder)
    first, _, method = path.partition(".")
    thing = getattr(module, first, None)
    if thing is None:
        held = ", ".join(_held(module)) or "none"
        raise BadModel(
            f"model {name!r} expected a class or function {first!r} in "
            f"{getattr(module, '__file__', None) or module_name}, got none; it holds {held}"
        )
    return thing, method or None


def user_module(name: str, folder: Path | None = None) -> ModuleType:
    """Import a module of the user's, from `folder` before anywhere else; None: the folder in which
    the command runs. Raises BadModel.

    A module of the same name that was imported from elsewhere is put aside where the folder has
    one of its own, unless it is Python's: nobody's folder could be used under that name.
    """
    here = str((folder or Path.cwd()).resolve())
    if here not in (str(Path(entry).resolve()) for entry in sys.path[:1]):
        sys.path.insert(0, here)
    top = name.partition(".")[0]
    _put_aside(top, here)
    _forget_folders()
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:  # user code: a syntax error, anything
        raise BadModel(f"module {name!r} cannot be imported from {here}: {told(error)}") from error


def _forget_folders() -> None:
    """Let folders be listed anew: a file may be younger than the list that Python keeps."""
    while True:
        try:
            return importlib.invalidate_caches()
        except RuntimeError:  # it goes through a dictionary while another thread imports
            continue


def _put_aside(top: str, here: str) -> None:
    known = sys.modules.get(top)
    if known is None:
        return
    own = [Path(here, f"{top}.py"), Path(here, top, "__init__.py")]
    found = [path for path in own if path.is_file()]
    if not found or _is_from(known, here):
        return
    if top in sys.stdlib_module_names or top == "streamrec":
        raise BadModel(
            f"module {top!r} expected another name: {found[0]} is called as a module "
            "that is in use already"
        )
    for each in [each for each in sys.modules if each == top or each.startswith(f"{top}.")]:
        del sys.modules[each]


def _is_from(module: ModuleType, here: str) -> bool:
    places = [getattr(module, "__file__", None), *getattr(module, "__path__", [])]
    return any(place and Path(place).resolve().is_relative_to(here) for place in places)


def _held(module: ModuleType) -> list[str]:
    """Names that could have been meant: what the module itself defines, before what it imports."""
    names = [each for each in vars(module) if each[0] != "_" and callable(getattr(module, each))]
    own = [
        each for each in names if getattr(vars(module)[each], "__module__", "") == module.__name__
    ]
    return own or names


__all__ = ["thing_named", "user_module"]
