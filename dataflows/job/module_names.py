"""What a name of a dataflow stands for, told without importing the dataflow and what it needs."""

import sys
from importlib.util import find_spec
from pathlib import Path


class FlowError(Exception):
    """A name stands for no module of a dataflow; the message says what is missing."""


def module_name(name: str) -> str:
    """The full name of a module: found first of all in the folder in which the command runs; ours
    also by their short names, `dataflows.scoring`. Raises FlowError.

    >>> module_name("dataflows.scoring")
    'streamrec.dataflows.scoring'
    """
    here = str(Path.cwd())
    if sys.path[:1] not in ([""], [here]):
        sys.path.insert(0, here)
    if not all(part.isidentifier() for part in name.split(".")):
        raise FlowError(f"dataflow expected the name of a module such as carts, got {name!r}")
    candidates = (f"streamrec.{name}", name) if name.startswith("dataflows.") else (name,)
    for candidate in candidates:
        try:
            if find_spec(candidate) is not None:
                return candidate
        except ModuleNotFoundError as error:
            if error.name is None or not f"{candidate}.".startswith(f"{error.name}."):
                raise  # a package above it is there; something that it imports is not
    raise FlowError(
        f"dataflow expected a module such as dataflows.recommender, got {name!r}, which is not in "
        f"{here} and not installed"
    )
