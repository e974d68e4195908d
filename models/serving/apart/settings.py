"""What a model in a process of its own is, and what it may take. Goes between processes."""

import importlib
from dataclasses import dataclass
from typing import Any

from streamrec.models.serving.contract import Predictor


@dataclass(frozen=True, slots=True)
class Plan:
    """How the process makes its `Predictor`: by name, so that no object is copied into it.

    >>> Plan("streamrec.models.serving.loading:load_predictor", ("iris_model:Iris",), "/srv/mine")
    Plan(make='streamrec.models.serving.loading:load_predictor', arguments=('iris_model:Iris',), \
folder='/srv/mine')
    """

    make: str  # module:function, called in the process
    arguments: tuple[Any, ...] = ()  # of that function; they are pickled
    folder: str | None = None  # modules are looked for here first; None: as in this process

    def made(self) -> Predictor:
        """Called in the process, with `folder` on the path. Raises what user code raises."""
        module, _, name = self.make.partition(":")
        predictor: Predictor = getattr(importlib.import_module(module), name)(*self.arguments)
        return predictor


@dataclass(frozen=True, slots=True)
class Limits:
    """What the process may take. Raises ValueError."""

    timeout_s: float | None = None  # of one call; a record fails by it only where it is alone
    memory_mb: float | None = None  # growth of resident memory over the warm state
    cut_ms: float = 100.0  # how long a batch is meant to take
    start_s: float = 120.0  # to load and warm the model
    pause_s: float = 0.0  # the least time between two starts of a process
    nice: int = (
        0  # of the process, from its first instruction on; 19: runs only where all else idles
    )
    spare: bool = False  # a second warm process stands by: twice the memory, no wait after a kill

    def __post_init__(self) -> None:
        for name in ("timeout_s", "memory_mb", "cut_ms", "start_s"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} expected more than 0, got {value!r}")
        if not self.pause_s >= 0:
            raise ValueError(f"pause_s expected 0 or more, got {self.pause_s!r}")
        if not 0 <= self.nice <= 19:
            raise ValueError(f"nice expected 0 to 19, got {self.nice!r}")


__all__ = ["Limits", "Plan"]
