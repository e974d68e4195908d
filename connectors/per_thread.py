"""A thing for each worker. A worker of the engine is a thread."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class PerThread(Generic[T]):
    """Makes a thing of its own for each thread.

    Not by `threading.local`: the engine's threads are not Python's, so that Python forgets them,
    and what is local to them, whenever a call from the engine returns (seen with two processes:
    decoders were made anew for each batch). Their ids stay the same.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: dict[int, T] = {}

    def __call__(self) -> T:
        thread = threading.get_ident()
        made = self._made.get(thread)
        if made is None:
            made = self._made[thread] = self._make()
        return made
