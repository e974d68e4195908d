"""Another generation of keys on a Redis or Valkey server, which takes the other's place."""

import secrets
from collections.abc import Callable, Sequence

from streamrec.services.store.contract import StoreError
from streamrec.services.store.redis_server import (
    CURRENT,
    FIRST,
    GATE,
    PREFIX,
    REBUILD,
    GenerationStore,
    client_of,
    told,
)

GATE_S = 30.0  # for how long it stays shut when who shut it has died
_ALONE_S = 60.0  # the same of a rebuild; held anew with each put
_KEYS_AT_ONCE = 1_000

# KEYS: the rebuild, keys that are to go. ARGV: by whom it is made, for how many ms more it is held.
_GO_ON = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
if #KEYS > 1 then redis.call('UNLINK', unpack(KEYS, 2)) end
return 1
"""
# KEYS: what is held. ARGV: by whom. Only its holder lets go of it.
_RELEASE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""
# KEYS: current, gate. ARGV: by whom the gate is shut, the generation that is to be current.
_SWAP = """
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
redis.call('DEL', KEYS[2])
return 1
"""


class RedisReplacement:
    """Filled, then swapped in; or closed, and gone. As `folder.Replacement`."""

    def __init__(self, url: str) -> None:
        """Raises StoreError, also while another is being made."""
        self._own = secrets.token_hex(8)
        self.store = GenerationStore(url, self._own.encode())
        self._where = self.store.where
        self._client = client_of(url, self._where)
        with told(self._where):
            if not self._client.set(REBUILD, self._own, nx=True, px=int(_ALONE_S * 1_000)):
                raise StoreError(
                    f"{self._where} expected one rebuild at a time, got another that runs, or was "
                    f"killed less than {_ALONE_S:.0f} s ago"
                )
        self.store.before_put = self._go_on

    def swap(self, complete: Callable[[], None]) -> None:
        """As `folder.Replacement.swap`."""
        self._go_on()  # for longer than the gate stays shut
        with told(self._where):
            self._client.set(GATE, self._own, px=int(GATE_S * 1_000))
        try:
            complete()
            with told(self._where):
                if not self._client.eval(_SWAP, 2, CURRENT, GATE, self._own, self._own):
                    raise StoreError(
                        f"{self._where} expected to be swapped within {GATE_S:.0f} s, got a gate "
                        "that is open again; the one before stays in use: try again"
                    )
        finally:
            self._release(GATE)

    def close(self) -> None:
        """Remove what is not in use: the generation before, or this one, and those of rebuilds that
        were killed. When another rebuild has begun, which is not told from those, it does that."""
        with told(self._where):
            current = self._client.get(CURRENT) or FIRST
            in_use = f"{PREFIX}:".encode() + current + b":"
            keys: list[bytes] = []
            for key in self._client.scan_iter(f"{PREFIX}:*/*", count=_KEYS_AT_ONCE):
                if not key.startswith(in_use):
                    keys.append(key)
                if len(keys) >= _KEYS_AT_ONCE:
                    if not self._is_held(keys):
                        break
                    keys = []
            self._is_held(keys)
        self._release(REBUILD)
        self._client.close()
        self.store.close()

    def _go_on(self) -> None:
        """Say that this rebuild is still running."""
        if not self._is_held():
            raise StoreError(
                f"{self._where} expected this rebuild to be the only one, got another, or none for "
                f"{_ALONE_S:.0f} s; the one in use stays: try again"
            )

    def _is_held(self, to_remove: Sequence[bytes] = ()) -> bool:
        """Whether this is the rebuild that may go on; it is for a while, and the keys are gone."""
        held_ms = int(_ALONE_S * 1_000)
        with told(self._where):
            asked = (REBUILD, *to_remove, self._own, held_ms)
            return bool(self._client.eval(_GO_ON, 1 + len(to_remove), *asked))

    def _release(self, key: str) -> None:
        with told(self._where):
            self._client.eval(_RELEASE, 1, key, self._own)


__all__ = ["RedisReplacement"]
