"""The store that `STREAMREC_STORE` names."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from streamrec.connectors.log_settings import without_passwords
from streamrec.services.store.contract import StoreError, ValueStore
from streamrec.services.store.folder import FolderStore, Replacement


class Replacing(Protocol):
    """A store that is made beside the one in use: filled, then swapped in; or closed, and gone."""

    @property
    def store(self) -> ValueStore: ...

    def swap(self, complete: Callable[[], None]) -> None:
        """Put it in the place of the one in use. `complete` is called while nobody puts, to take in
        what came meanwhile. Raises StoreError."""

    def close(self) -> None:
        """Remove what is not in use: the one before, or this one."""


_REDIS = ("redis://", "rediss://", "unix://")


def is_local(named: str) -> bool:
    """Whether it can be used by processes of one machine only."""
    return not named.startswith(_REDIS)


def open_store(named: str, make: bool = False) -> ValueStore:
    """A folder, or a server by its URL. Connects with the first call. `make` as FolderStore says.
    Raises StoreError.

    >>> open_store("postgres://here")
    Traceback (most recent call last):
    streamrec.services.store.contract.StoreError: STREAMREC_STORE expected a folder or \
redis://HOST:PORT/DB, got 'postgres://here'
    """
    if is_local(named):
        if "://" in named:
            raise StoreError(
                "STREAMREC_STORE expected a folder or redis://HOST:PORT/DB, got "
                f"{without_passwords(named)!r}"
            )
        return FolderStore(Path(named), make)
    from streamrec.services.store.redis_server import RedisStore

    return RedisStore(named)


def open_replacement(named: str) -> Replacing:
    """A new one beside the store in use. Raises StoreError."""
    if is_local(named):
        return Replacement(Path(named))
    from streamrec.services.store.redis_swap import RedisReplacement

    return RedisReplacement(named)


__all__ = ["Replacing", "is_local", "open_replacement", "open_store"]
