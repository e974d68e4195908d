"""A store on a Redis or Valkey server: for processes on several machines.

- *A put* reads what is there, merges here, and sets what is still as it was read, in one script for
  each chunk; what somebody else has changed meanwhile is merged again. So writers may be many.
- *A chunk is all or none*, a put of several chunks is not: what is repeated after a crash merges.
- *Durability* is the server's (`appendonly yes`): `sync` has nothing to add.
- *Another generation* (`store.redis_swap`): keys begin with the name of the one in use. A get asks
  for that name beside its keys, in one command, and again where it has become another; the script
  refuses to set keys of another, or while one takes the other's place.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha1
from typing import Any, TypeVar

from streamrec.connectors.log_settings import without_passwords
from streamrec.services.store.contract import (
    Item,
    Space,
    StoreAwayError,
    StoreError,
    StoreFullError,
    folded,
)

T = TypeVar("T")

PREFIX = "streamrec"
CURRENT = f"{PREFIX}:current"
GATE = f"{PREFIX}:gate"  # there while a generation takes another's place
REBUILD = f"{PREFIX}:rebuild"  # there while one is being made
FIRST = b"1"
_CHUNK = 500
_GATE_WAIT_S = 0.02
_ANSWER_S = 5.0
_GETS_MAX = 5  # of one get, while generations take each other's place

_GATE_IS_SHUT = -1

# KEYS: current, gate, then n keys. ARGV: the generation, then by key what it held (its SHA-1, ""
# for nothing) and what it is to hold. Returns the places of keys that hold something else by now.
_SET = """
if redis.call('EXISTS', KEYS[2]) == 1 then return -1 end
local current = redis.call('GET', KEYS[1])
if not current then
    redis.call('SET', KEYS[1], ARGV[1])
    current = ARGV[1]
end
if current ~= ARGV[1] then return -2 end
local changed = {}
for i = 3, #KEYS do
    local held = redis.call('GET', KEYS[i])
    local digest = held and redis.sha1hex(held) or ''
    if digest == ARGV[2 * (i - 2)] then
        redis.call('SET', KEYS[i], ARGV[2 * (i - 2) + 1])
    else
        changed[#changed + 1] = i - 3
    end
end
return changed
"""


class RedisStore:
    """Keeps the contract on the server at a URL. Connects with the first call."""

    def __init__(self, url: str) -> None:
        """Raises StoreError where the extra is missing, or the URL is none."""
        self.where = f"store {without_passwords(url)!r}"
        self._client = client_of(url, self.where)
        self._set = self._client.register_script(_SET)
        self._generation = FIRST  # in use, as far as is known

    def get(self, space: Space, keys: Sequence[bytes]) -> list[bytes | None]:
        if not keys:
            return []
        for _ in range(_GETS_MAX):
            generation = self._generation
            prefix = _prefix(generation, space)
            asked = [CURRENT.encode(), *(prefix + key for key in keys)]
            found: list[bytes | None] = self._asked(self._client.mget, asked)
            current = self._generation = found[0] or FIRST
            if current == generation:
                return found[1:]
        raise StoreError(f"{self.where} expected one generation, got another with each look")

    def put(self, space: Space, items: Iterable[Item]) -> None:
        for chunk in _chunks(folded(space.merge, items)):
            while chunk:
                chunk = self._put_once(space, chunk)

    def sync(self) -> None:
        """The server sees to it."""

    def close(self) -> None:
        self._client.close()

    def _look(self) -> None:
        self._generation = self._asked(self._client.get, CURRENT) or FIRST

    def _put_once(self, space: Space, items: list[Item]) -> list[Item]:
        """Returns what has to be put again."""
        generation = self._generation  # which a get may change meanwhile
        prefix = _prefix(generation, space)
        keys = [prefix + key for key, _ in items]
        held: list[bytes | None] = self._asked(self._client.mget, keys)
        changed: list[Item] = []
        arguments: list[bytes | str] = [generation]
        for (key, value), old in zip(items, held, strict=True):
            new = value if old is None else space.merge(old, value)
            if new != old:
                changed.append((key, value))
                arguments += ["" if old is None else sha1(old).hexdigest(), new]
        if not changed:
            return []
        keys = [CURRENT.encode(), GATE.encode(), *(prefix + key for key, _ in changed)]
        said = self._asked(lambda: self._set(keys=keys, args=arguments))
        if isinstance(said, list):
            return [changed[place] for place in said]
        if said == _GATE_IS_SHUT:
            time.sleep(_GATE_WAIT_S)
        self._look()
        return items

    def _asked(self, ask: Callable[..., T], *arguments: Any) -> T:
        with told(self.where):
            return ask(*arguments)


class GenerationStore(RedisStore):
    """Of one generation, in use or not; written by one process alone."""

    def __init__(self, url: str, generation: bytes) -> None:
        super().__init__(url)
        self._generation = generation
        self.before_put: Callable[[], None] = lambda: None

    def get(self, space: Space, keys: Sequence[bytes]) -> list[bytes | None]:
        prefix = _prefix(self._generation, space)
        found: list[bytes | None] = self._asked(self._client.mget, [prefix + key for key in keys])
        return found

    def _put_once(self, space: Space, items: list[Item]) -> list[Item]:
        self.before_put()
        prefix = _prefix(self._generation, space)
        held = self.get(space, [key for key, _ in items])
        new = {
            prefix + key: value if old is None else space.merge(old, value)
            for (key, value), old in zip(items, held, strict=True)
        }
        self._asked(self._client.mset, new)
        return []


def client_of(url: str, where: str) -> Any:
    """Raises StoreError where the extra is missing, or the URL is none."""
    try:
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry
    except ImportError as error:
        raise StoreError(
            f"{where} expected the extra `redis` (pip install streamrec[redis]), got none"
        ) from error
    try:
        return redis.Redis.from_url(
            url,
            socket_timeout=_ANSWER_S,
            socket_connect_timeout=_ANSWER_S,
            # Once more, at once, on a new connection: an old one may have been closed. For as long
            # as it takes waits who asks, if anybody.
            retry=Retry(NoBackoff(), 1, (redis.exceptions.ConnectionError,)),
        )
    except ValueError as error:
        raise StoreError(f"{where} expected redis://HOST:PORT/DB, got {error}") from error


@contextmanager
def told(where: str) -> Iterator[None]:
    """What the client says, as a StoreError."""
    import redis

    try:
        yield
    except redis.exceptions.OutOfMemoryError as error:
        raise StoreFullError(
            f"{where} expected room for what is put, got {str(error)!r}; raise its maxmemory"
        ) from error
    except (redis.exceptions.AuthenticationError, redis.exceptions.NoPermissionError) as error:
        raise StoreError(f"{where} expected to be allowed, got {str(error)!r}") from error
    except (
        redis.exceptions.BusyLoadingError,
        redis.exceptions.ConnectionError,
        redis.exceptions.TimeoutError,
    ) as error:
        raise StoreAwayError(f"{where} is away: {error}") from error
    except redis.exceptions.RedisError as error:
        said = str(error)
        if said.startswith(("OOM", "MISCONF")):
            raise StoreFullError(
                f"{where} expected room for what is put, got {said!r}; see to its disk "
                "and maxmemory"
            ) from error
        raise StoreError(f"{where} expected to do what was asked, got {said!r}") from error


def _chunks(items: list[Item]) -> Iterator[list[Item]]:
    for first in range(0, len(items), _CHUNK):
        yield items[first : first + _CHUNK]


def _prefix(generation: bytes, space: Space) -> bytes:
    return b"%b:%b:%b/" % (PREFIX.encode(), generation, space.name.encode())


__all__ = [
    "CURRENT",
    "FIRST",
    "GATE",
    "PREFIX",
    "REBUILD",
    "GenerationStore",
    "RedisStore",
    "client_of",
    "told",
]
