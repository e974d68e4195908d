"""The store that `STREAMREC_STORE` names."""

from pathlib import Path

from streamrec.connectors.log_settings import without_passwords
from streamrec.services.store.contract import StoreError, ValueStore
from streamrec.services.store.folder import FolderStore

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


__all__ = ["is_local", "open_store"]
