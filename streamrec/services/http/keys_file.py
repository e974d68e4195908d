"""API keys in a file: a name, the SHA-256 of the key, scopes, and until when; an object a line.

A key is 256 random bits. What is slow to hash (argon2, scrypt) protects what people choose, which
can be guessed; of 2**256 random keys none can, however fast each guess is, and every request would
pay. Changes are made one at a time, each written whole or not at all; who reads looks at the file
again when it has changed.
"""

import fcntl
import json
import os
import re
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from streamrec.connectors.state_files import write_durably
from streamrec.services.http.access import Caller

_LOOK_S = 1.0
_OWNER_ONLY = 0o600
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SCOPE = re.compile(r"\*|[a-z]+(/([A-Za-z0-9._-]+\*?|\*))?")
_PREFIX = "sr_"  # so that a key which was published by mistake can be searched for


class KeysFileError(Exception):
    """A file of keys is not as it must be; the message names the line, and holds no key."""


@dataclass(frozen=True, slots=True)
class StoredKey:
    """What the file says of one key."""

    name: str
    digest: bytes  # SHA-256 of the key, 32 bytes
    scopes: tuple[str, ...]
    created_s: int  # Unix seconds
    expires_s: int | None = None

    def caller(self) -> Caller:
        return Caller(self.name, frozenset(self.scopes), self.expires_s)


def read_keys(path: Path) -> list[StoredKey]:
    """All keys of a file, none where there is no file. Raises KeysFileError."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise KeysFileError(f"keys file {str(path)!r} expected to be readable: {error}") from error
    found: list[StoredKey] = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            key = _parsed(f"keys file {str(path)!r}, line {number}", line)
            if any(each.name == key.name for each in found):
                raise KeysFileError(
                    f"keys file {str(path)!r}, line {number}: name expected another than "
                    f"{key.name!r}, which is there already"
                )
            found.append(key)
    return found


def create_key(path: Path, name: str, scopes: Sequence[str], expires_s: int | None = None) -> str:
    """Add a key, and return it: it cannot be had again. Raises KeysFileError."""
    if not _NAME.fullmatch(name):
        raise KeysFileError(
            "name expected letters, digits, '.', '-' and '_', a letter or digit first, "
            f"got {name!r}"
        )
    if not scopes:
        raise KeysFileError("scope expected at least one, got none")
    for scope in scopes:
        _check_scope(scope)
    key = _PREFIX + secrets.token_urlsafe(32)
    digest = sha256(key.encode()).digest()
    with _alone(path):
        keys = read_keys(path)
        if any(each.name == name for each in keys):
            raise KeysFileError(f"name expected one that no key has, got {name!r}")
        _write(path, [*keys, StoredKey(name, digest, tuple(scopes), int(time.time()), expires_s)])
    return key


def revoke_key(path: Path, name: str) -> None:
    """Take a key out: a running server refuses it within a second. Raises KeysFileError."""
    with _alone(path):
        keys = read_keys(path)
        left = [each for each in keys if each.name != name]
        if len(left) == len(keys):
            known = ", ".join(each.name for each in keys) or "none yet"
            raise KeysFileError(f"name expected one of the keys ({known}), got {name!r}")
        _write(path, left)


class KeysFile:
    """The keys of a file, as they are now: a KeyRing. A file that has become unreadable or wrong
    leaves the keys as they were, and says so; one that is gone leaves none."""

    def __init__(self, path: Path, say: Any = None) -> None:
        """Raises KeysFileError for a file that is wrong at the start."""
        self._path = path
        self._say = say
        self._stamp = self._stamp_now()
        self._callers = self._read()
        self._look_at_s = time.monotonic() + _LOOK_S

    def callers(self) -> Mapping[bytes, Caller]:
        now_s = time.monotonic()
        if now_s >= self._look_at_s:
            self._look_at_s = now_s + _LOOK_S
            stamp = self._stamp_now()
            if stamp != self._stamp:
                self._stamp = stamp
                try:
                    self._callers = self._read()
                except KeysFileError as error:
                    if self._say is not None:
                        self._say(f"{error}; the keys stay as they were")
        return self._callers

    def _read(self) -> dict[bytes, Caller]:
        return {key.digest: key.caller() for key in read_keys(self._path)}

    def _stamp_now(self) -> tuple[int, int, int]:
        try:
            found = self._path.stat()
        except OSError:
            return (0, 0, 0)
        return found.st_mtime_ns, found.st_ino, found.st_size


def _check_scope(scope: str) -> None:
    if not _SCOPE.fullmatch(scope):
        raise KeysFileError(
            f"scope expected a name as 'clicks', one within as 'topics/orders', or all with '*' "
            f"as 'pipelines/*', got {scope!r}"
        )


def _parsed(where: str, line: str) -> StoredKey:
    try:
        found = json.loads(line)
        key = StoredKey(
            str(found["name"]),
            bytes.fromhex(found["sha256"]),
            tuple(map(str, found["scopes"])),
            int(found["created"]),
            None if found.get("expires") is None else int(found["expires"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise KeysFileError(
            f"{where}: expected an object with name, sha256, scopes, created and expires, got "
            f"another ({type(error).__name__})"
        ) from None
    if len(key.digest) != 32:
        raise KeysFileError(f"{where}: sha256 expected 64 hexadecimal digits, got another")
    try:
        for scope in key.scopes:
            _check_scope(scope)
    except KeysFileError as error:
        raise KeysFileError(f"{where}: {error}") from None
    return key


def _write(path: Path, keys: Sequence[StoredKey]) -> None:
    lines = [
        json.dumps(
            {
                "name": key.name,
                "sha256": key.digest.hex(),
                "scopes": list(key.scopes),
                "created": key.created_s,
                "expires": key.expires_s,
            }
        )
        for key in keys
    ]
    try:
        write_durably(path, "".join(f"{line}\n" for line in lines).encode(), mode=_OWNER_ONLY)
    except OSError as error:
        raise _unwritable(path, error) from error


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """While nobody else changes the file. The lock stands beside it, since each change puts another
    file in its place."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(
            path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _OWNER_ONLY
        )
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _unwritable(path: Path, error: OSError) -> KeysFileError:
    return KeysFileError(f"keys file {str(path)!r} expected to be writable: {error}")


__all__ = ["KeysFile", "KeysFileError", "StoredKey", "create_key", "read_keys", "revoke_key"]
