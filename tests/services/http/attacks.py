"""What a route must withstand: keys that are missing, others', forged or old, and bodies that are
too deep, too long, too slow, or other than they say. For the tests of every service."""

import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import jwt

from streamrec.services.http.access import Access
from streamrec.services.http.app import Guard
from streamrec.services.http.keys_file import KeysFile, create_key
from streamrec.services.http.limits import RequestLimits
from streamrec.services.http.routes import Route
from streamrec.services.http.tokens import Tokens

LIMITS = RequestLimits(body_bytes=4_096, json_depth=8, body_s=0.3)
SECRET = "a-secret-that-nobody-may-see-0123456789abcdef"
_JSON = {"content-type": "application/json"}
_WAIT_S = 5.0


@dataclass(frozen=True)
class Keys:
    """What a test's clients have."""

    access: Access
    good: str  # may do all
    other: str  # may do what no route is about

    @property
    def secrets(self) -> tuple[str, ...]:
        return SECRET, self.good, self.other


def keys_in(folder: Path) -> Keys:
    path = folder / "keys"
    good, other = create_key(path, "good", ["*"]), create_key(path, "other", ["elsewhere"])
    return Keys(Access(KeysFile(path), Tokens(SECRET, "HS256")), good, other)


def guard_with(keys: Keys) -> Guard:
    return Guard(access=keys.access, limits=LIMITS, access_log=True)


def token(key: str, lives_s: float, scope: str = "*") -> str:
    claims = {"sub": "somebody", "exp": time.time() + lives_s, "scope": scope}
    return jwt.encode(claims, key, "HS256")


@dataclass(frozen=True)
class Attack:
    """A request, and the statuses that may answer it."""

    name: str
    statuses: frozenset[int]
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    length: int | None = None  # as announced; None: as it is
    chunks: tuple[bytes, ...] = ()  # in place of a body
    query: str = ""
    ends: bool = True  # False: more of the body is to come, and does not

    def send(self, address: tuple[str, int], method: str, path: str) -> tuple[int, bytes]:
        """Status, and all that was said."""
        head = {"host": "x", "connection": "close", **self.headers}
        if self.chunks:
            head["transfer-encoding"] = "chunked"
        elif self.body or self.length is not None:
            head["content-length"] = str(len(self.body) if self.length is None else self.length)
        lines = [f"{method} {path}{self.query} HTTP/1.1", *(f"{k}: {v}" for k, v in head.items())]
        text = "\r\n".join([*lines, "", ""]).encode("latin-1") + self.body
        text += b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in self.chunks)
        if self.chunks and self.ends:
            text += b"0\r\n\r\n"
        with closing(socket.create_connection(address, timeout=_WAIT_S)) as sock:
            said = b""
            try:
                sock.sendall(text)
                while chunk := sock.recv(65_536):
                    said += chunk
            except ConnectionError:  # refused before all was sent
                pass
        assert said.startswith(b"HTTP/1.1 "), said
        return int(said.split(b" ", 2)[1]), said


def attacks_on(route: Route, keys: Keys) -> Iterator[Attack]:
    """All that a route is tried with."""
    if route.scope is not None:
        yield from _of_keys(route, keys)
    if route.takes:
        yield from _of_bodies(route, {"authorization": f"Bearer {keys.good}"})


def _of_keys(route: Route, keys: Keys) -> Iterator[Attack]:
    body = {"headers": _JSON, "body": b"{}"} if route.takes else {"headers": {}, "body": b""}

    def attack(name: str, status: int, headers: Mapping[str, str], query: str = "") -> Attack:
        own = {**body["headers"], **headers}  # type: ignore[dict-item]  # the headers of the two
        return Attack(name, frozenset((status,)), own, bytes(body["body"]), query=query)  # type: ignore[arg-type]  # the bytes of the two

    yield attack("no key", 401, {})
    yield attack("an empty key", 401, {"x-api-key": ""})
    yield attack("an unknown key", 401, {"x-api-key": "sr_unknown"})
    yield attack("a key of another scope", 403, {"x-api-key": keys.other})
    yield attack("a key by another scheme", 401, {"authorization": f"Basic {keys.good}"})
    yield attack("a key in the query", 403 if route.key_in_query else 401, {}, f"?key={keys.good}")
    for name, status, own in (
        ("a forged token", 401, token("another-secret-0123456789abcdef-0123456789", 60.0)),
        ("an expired token", 401, token(SECRET, -60.0)),
        ("a token without a signature", 401, jwt.encode({"exp": 9e9, "scope": "*"}, "", "none")),
        ("a token of another scope", 403, token(SECRET, 60.0, "elsewhere")),
        ("no token", 401, "a.b.c"),
    ):
        yield attack(name, status, {"authorization": f"Bearer {own}"})


def _of_bodies(route: Route, key: Mapping[str, str]) -> Iterator[Attack]:
    json = {**key, **_JSON}

    def attack(name: str, *statuses: int, **more: object) -> Attack:
        return Attack(name, frozenset(statuses), **{"headers": json, **more})  # type: ignore[arg-type]  # fields of the attack

    yield attack("too long", 413, body=b" " * 4_097)
    yield attack("said to be too long", 413, body=b"{}", length=10**12, ends=False)
    yield attack("too long in chunks", 413, chunks=(b" " * 2_000,) * 4, ends=False)
    yield attack("too slow", 408, body=b'{"a":', length=100, ends=False)
    yield attack("too slow in chunks", 408, chunks=(b"{",), ends=False)
    yield attack("too deep", 400, body=b"[" * 9 + b"]" * 9)
    yield attack("much too deep", 400, body=b"[" * 4_000)
    yield attack("compressed", 415, headers={**json, "content-encoding": "gzip"}, body=b"{}")
    yield attack("no JSON", 400, body=b"\x89PNG\r\n\x1a\n")
    yield attack("no UTF-8", 400, body=b'{"a": "\xff"}')
    yield attack("a length that is none", 400, headers={**json, "content-length": "-1"}, body=b"")
    if "*/*" not in route.takes:
        yield attack("another type", 415, headers={**key, "content-type": "text/xml"}, body=b"<a/>")
        yield attack("no object", 422, body=b"7")
