"""A schema registry under the Confluent API: Confluent's, Apicurio's, Karapace and others.

Only what the registry itself says in its own JSON is believed: a schema, or that there is none. All
else (an error, a redirect, a page of a proxy, an answer that does not end or lacks a field) means
that the registry is unavailable, and says nothing of a schema.
"""

import json
import ssl
import threading
import weakref
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from streamrec.connectors import http_asking
from streamrec.connectors.http_asking import Answer, NoAnswerError
from streamrec.connectors.lagging import Lag
from streamrec.connectors.log import (
    IncompatibleSchemaError,
    RegisteredSchema,
    RegistryUnavailableError,
    SchemaError,
    UnknownSchemaError,
)
from streamrec.connectors.registry_urls import registry_urls, shown
from streamrec.schemas.references import inlined

_REQUEST_S = 5.0  # for a whole answer
_CALL_S = 8.0  # for all URLs together, when each is asked once
_CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_NO_SCHEMA = frozenset({40403})
_NO_GUID = frozenset({40403, 404})  # 404: a registry that knows of no GUIDs, in its own JSON
_ID_MAX = 0x7FFF_FFFF  # registries count in int32: a larger one is no question to them
_NO_SUBJECT = frozenset({40401, 40402, 40403, 40404})  # none, no version, no schema, one removed
_NO_CODE = 0
_REFERENCES_MAX = 100


class ConfluentRegistry:
    """A SchemaRegistry, safe for use by several threads.

    `url` may hold a path, such as Apicurio's `/apis/ccompat/v7`, and several with commas: they are
    tried in turn, beginning with the one that answered last. `user_info` is `user:password`. A call
    takes 8 s at most, and what is not there is asked for again for 2 s (`Lag`). That something is
    not there all must say, since one may lag behind another.
    """

    def __init__(
        self, url: str, user_info: str | None = None, ca_location: Path | None = None
    ) -> None:
        self._urls = registry_urls(url)
        self._where = f"schema registry {shown(self._urls)}"
        self._clients = _clients(self._where, self._urls, user_info, ca_location)
        # A dataflow has no end at which it could close them.
        self._closed = weakref.finalize(self, _close, self._clients)
        self._first = 0  # the URL that answered last
        self._within_s = min(_REQUEST_S, _CALL_S / len(self._urls))
        self._lag = Lag()
        self._by_id: dict[int | str, str] = {}
        self._referenced: dict[tuple[str, int], Mapping[str, Any]] = {}
        self._lock = threading.Lock()

    def by_id(self, schema_id: int) -> str:
        if schema_id > _ID_MAX:
            raise UnknownSchemaError(
                f"{self._where}: schema id {schema_id}: expected an id up to {_ID_MAX}, as "
                "registries give them"
            )
        return self._by(schema_id, f"/schemas/ids/{schema_id}", f"schema id {schema_id}")

    def by_guid(self, guid: str) -> str:
        return self._by(guid, f"/schemas/guids/{quote(guid, safe='')}", f"schema GUID {guid}")

    def latest(self, subject: str) -> RegisteredSchema:
        path = f"/subjects/{quote(subject, safe='')}/versions/latest"
        return self._registered(subject, self._found("GET", path, f"subject {subject!r}"))

    def find(self, subject: str, schema: str) -> RegisteredSchema:
        path = f"/subjects/{quote(subject, safe='')}"
        body = {"schema": schema, "schemaType": "AVRO"}
        return self._registered(subject, self._found("POST", path, f"subject {subject!r}", body))

    def register(self, subject: str, schema: str) -> RegisteredSchema:
        path = f"/subjects/{quote(subject, safe='')}/versions"
        body = {"schema": schema, "schemaType": "AVRO"}
        self._ask("POST", path, f"subject {subject!r}", {"id": int}, body)
        # Registering answers with an id alone; looking up what is registered tells the version.
        return self.find(subject, schema)

    def set_compatibility(self, subject: str, level: str) -> None:
        """Set the subject's rule: BACKWARD, FORWARD, FULL, each also _TRANSITIVE, or NONE."""
        path = f"/config/{quote(subject, safe='')}"
        self._ask("PUT", path, f"subject {subject!r}", {}, {"compatibility": level})

    def close(self) -> None:
        self._closed()

    def _by(self, key: int | str, path: str, what: str) -> str:
        known = self._by_id.get(key)
        if known is not None:
            return known
        missing = _NO_SCHEMA if isinstance(key, int) else _NO_GUID
        answer = self._lag.asked(
            key, lambda: self._ask("GET", path, what, {"schema": str}, missing=missing)
        )
        text = self._text(answer, what)
        with self._lock:
            self._by_id[key] = text
        return text

    def _found(
        self, method: str, path: str, what: str, body: dict[str, str] | None = None
    ) -> dict[str, Any]:
        fields = {"version": int, "id": int, "schema": str}
        return self._lag.asked(
            (path, None if body is None else body["schema"]),
            lambda: self._ask(method, path, what, fields, body, _NO_SUBJECT),
        )

    def _registered(self, subject: str, answer: dict[str, Any]) -> RegisteredSchema:
        text = self._text(answer, f"subject {subject!r}")
        return RegisteredSchema(subject, answer["version"], answer["id"], text)

    def _text(self, answer: Mapping[str, Any], what: str) -> str:
        """The schema of an answer, whole. Raises SchemaError when it is no Avro."""
        kind = answer.get("schemaType") or "AVRO"
        if kind != "AVRO":
            raise SchemaError(f"{self._where}: {what}: expected an Avro schema, got {kind!r}")
        text = str(answer["schema"])
        if not answer.get("references"):
            return text
        referenced: dict[tuple[str, int], str] = {}
        self._follow(answer, what, referenced)
        try:
            return inlined(text, referenced.values())
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise SchemaError(
                f"{self._where}: {what}: expected Avro schemas as JSON under its references, got "
                f"{type(error).__name__}: {error}"
            ) from error

    def _follow(
        self, answer: Mapping[str, Any], what: str, found: dict[tuple[str, int], str]
    ) -> None:
        """Add what an answer refers to, and what that refers to."""
        for reference in answer.get("references") or ():
            try:
                place = str(reference["subject"]), int(reference["version"])
            except (KeyError, TypeError, ValueError):
                raise RegistryUnavailableError(
                    f"{self._where}: {what}: expected references with subject and version, got "
                    f"{reference!r}"
                ) from None
            if place in found:
                continue
            if len(found) >= _REFERENCES_MAX:
                raise SchemaError(
                    f"{self._where}: {what}: expected {_REFERENCES_MAX} references at most"
                )
            subject, version = place
            if place not in self._referenced:
                path = f"/subjects/{quote(subject, safe='')}/versions/{version}"
                # What an answer refers to is there: a registry that says otherwise is not well.
                self._referenced[place] = self._ask(
                    "GET", path, f"{what}, reference {subject!r}, {version}", {"schema": str}
                )
            inner = self._referenced[place]
            found[place] = str(inner["schema"])
            self._follow(inner, what, found)

    def _ask(
        self,
        method: str,
        path: str,
        what: str,
        fields: Mapping[str, type],
        body: dict[str, str] | None = None,
        missing: Collection[int] = (),
    ) -> dict[str, Any]:
        """The answer, a JSON object with these fields. `missing` are codes of "there is none".

        Raises UnknownSchemaError, IncompatibleSchemaError, SchemaError for what the registry says
        itself, and RegistryUnavailableError.
        """
        content = None if body is None else json.dumps(body)
        causes: list[str] = []
        unknown: list[UnknownSchemaError] = []
        for turn in range(len(self._urls)):
            index = (self._first + turn) % len(self._urls)
            at = f"schema registry {shown(self._urls[index : index + 1])}: {what}"
            try:
                answer = http_asking.ask(
                    self._clients[index],
                    method,
                    self._urls[index] + path,
                    content,
                    {"Content-Type": _CONTENT_TYPE},
                    self._within_s,
                )
                found = _believed(at, answer, fields, missing)
            except UnknownSchemaError as error:
                unknown.append(error)
            except NoAnswerError as error:
                causes.append(
                    f"{at}: expected an answer, {error}; check SCHEMA_REGISTRY_URL and that the "
                    "registry runs"
                )
            except _NotWellError as error:
                causes.append(f"{at}: expected an answer of the registry's own, {error}")
            else:
                self._first = index
                return found
        if not causes:
            raise unknown[0]
        # Not chained to ours: the messages say it all.
        raise RegistryUnavailableError("; ".join([*causes, *map(str, unknown)]))


class _NotWellError(Exception):
    """An answer that is not the registry's own."""


def _believed(
    at: str, answer: Answer, fields: Mapping[str, type], missing: Collection[int]
) -> dict[str, Any]:
    """What an answer says, if it is the registry's own."""
    try:
        found = json.loads(answer.body)
    except ValueError:
        found = None
    if answer.is_success:
        if not isinstance(found, dict):
            raise _NotWellError(
                f"got {answer.status} {answer.excerpt()!r}; check the path of SCHEMA_REGISTRY_URL"
            )
        for name, kind in fields.items():
            if not isinstance(found.get(name), kind):
                raise _NotWellError(
                    f"got {answer.status} without the field {name!r}: {answer.excerpt()!r}"
                )
        return found
    code = found.get("error_code", _NO_CODE) if isinstance(found, dict) else _NO_CODE
    said = found.get("message") if isinstance(found, dict) else None
    if answer.status == 404 and code in missing:
        raise UnknownSchemaError(
            f"{at}: expected it to be registered, got {code} {said!r}; register it with "
            "`topics create`"
        )
    if answer.status == 409 and code != _NO_CODE:
        raise IncompatibleSchemaError(
            f"{at}: expected a schema that keeps the subject's compatibility, got {said!r}"
        )
    if answer.status == 422 and code != _NO_CODE:
        raise SchemaError(f"{at}: expected a valid request, got {code} {said!r}")
    raise _NotWellError(f"got {answer.status} {said or answer.excerpt()!r}{_hint(answer)}")


def _hint(answer: Answer) -> str:
    if answer.status in (401, 403):
        return "; check SCHEMA_REGISTRY_USER_INFO and the user's rights"
    if answer.location is not None:
        return "; it points elsewhere: check SCHEMA_REGISTRY_URL"
    if answer.status == 404:
        return "; check the path of SCHEMA_REGISTRY_URL"
    return ""


def _clients(
    where: str, urls: list[str], user_info: str | None, ca_location: Path | None
) -> list[httpx.AsyncClient]:
    user, _, password = (user_info or "").partition(":")
    verify: ssl.SSLContext | bool = True
    if ca_location is not None:
        try:
            verify = ssl.create_default_context(cafile=str(ca_location))
        except (OSError, ssl.SSLError) as error:
            raise SchemaError(
                f"{where}: SCHEMA_REGISTRY_CA_LOCATION expected a PEM file of authorities, got "
                f"{str(ca_location)!r}: {error}"
            ) from error
    try:
        return [
            httpx.AsyncClient(
                auth=(user, password) if user_info else None,
                verify=verify,
                timeout=None,  # the whole answer has a deadline
                headers={"Accept": f"{_CONTENT_TYPE}, application/json"},
                # A proxy from the environment must not come between us and loopback.
                trust_env=httpx.URL(url).host not in _LOOPBACK,
            )
            for url in urls
        ]
    except (ImportError, ValueError, httpx.InvalidURL) as error:
        # A package is not there, or it is no URL; a message may hold its password.
        cause = "needs a package: socksio" if isinstance(error, ImportError) else "is no URL"
        raise SchemaError(
            f"{where}: the proxy that the environment names (ALL_PROXY, HTTP_PROXY, HTTPS_PROXY) "
            f"{cause}; mend it, or name the registry's host in NO_PROXY"
        ) from error


def _close(clients: list[httpx.AsyncClient]) -> None:
    for client in clients:
        http_asking.close(client)
