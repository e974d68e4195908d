"""A schema registry under the Confluent API: Confluent's, Apicurio's, Karapace and others."""

import json
import ssl
import threading
import weakref
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx

from streamrec.connectors.log import (
    IncompatibleSchemaError,
    RegisteredSchema,
    RegistryUnavailableError,
    SchemaError,
    UnknownSchemaError,
)

_TIMEOUT_S = 5.0  # to connect, and between two pieces of an answer
_CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class ConfluentRegistry:
    """A SchemaRegistry, safe for use by several threads. A call takes some 10 s at the most.

    `url` may hold a path, such as Apicurio's `/apis/ccompat/v7`. `user_info` is `user:password`.
    """

    def __init__(
        self, url: str, user_info: str | None = None, ca_location: Path | None = None
    ) -> None:
        self._url = url.rstrip("/")
        parts = urlsplit(self._url)
        # The URL may carry a password: only its harmless parts are ever shown.
        host = parts.netloc.rpartition("@")[2]
        self._where = f"schema registry '{parts.scheme}://{host}{parts.path}'"
        user, _, password = (user_info or "").partition(":")
        verify = _verify(self._where, ca_location)
        try:
            self._client = httpx.Client(
                auth=(user, password) if user_info else None,
                verify=verify,
                timeout=_TIMEOUT_S,
                headers={"Accept": f"{_CONTENT_TYPE}, application/json"},
                # A proxy from the environment must not come between us and loopback.
                trust_env=parts.hostname not in _LOOPBACK,
            )
        except (ImportError, ValueError, httpx.InvalidURL) as error:
            # It needs a package that is not there, or is no URL; a message may hold its password.
            cause = "needs a package: socksio" if isinstance(error, ImportError) else "is no URL"
            raise RegistryUnavailableError(
                f"{self._where}: the proxy that the environment names (ALL_PROXY, HTTP_PROXY, "
                f"HTTPS_PROXY) {cause}; mend it, or name the registry's host in NO_PROXY"
            ) from error
        # A dataflow has no end at which it could close this one.
        weakref.finalize(self, self._client.close)
        self._by_id: dict[int, str] = {}
        self._lock = threading.Lock()

    def by_id(self, schema_id: int) -> str:
        known = self._by_id.get(schema_id)
        if known is not None:
            return known
        answer = self._ask("GET", f"/schemas/ids/{schema_id}", f"schema id {schema_id}")
        kind = answer.get("schemaType", "AVRO")
        if kind != "AVRO":
            raise SchemaError(
                f"{self._where}: schema id {schema_id}: expected an Avro schema, got {kind!r}"
            )
        text = str(answer["schema"])
        with self._lock:
            self._by_id[schema_id] = text
        return text

    def latest(self, subject: str) -> RegisteredSchema:
        answer = self._ask(
            "GET", f"/subjects/{quote(subject, safe='')}/versions/latest", f"subject {subject!r}"
        )
        return RegisteredSchema(
            subject, int(answer["version"]), int(answer["id"]), str(answer["schema"])
        )

    def find(self, subject: str, schema: str) -> RegisteredSchema:
        body = {"schema": schema, "schemaType": "AVRO"}
        found = self._ask(
            "POST", f"/subjects/{quote(subject, safe='')}", f"subject {subject!r}", body
        )
        return RegisteredSchema(
            subject, int(found["version"]), int(found["id"]), str(found["schema"])
        )

    def register(self, subject: str, schema: str) -> RegisteredSchema:
        path = f"/subjects/{quote(subject, safe='')}/versions"
        body = {"schema": schema, "schemaType": "AVRO"}
        self._ask("POST", path, f"subject {subject!r}", body)
        # Registering answers with an id alone; looking up what is registered tells the version.
        return self.find(subject, schema)

    def set_compatibility(self, subject: str, level: str) -> None:
        """Set the subject's rule: BACKWARD, FORWARD, FULL, each also _TRANSITIVE, or NONE."""
        self._ask(
            "PUT",
            f"/config/{quote(subject, safe='')}",
            f"subject {subject!r}",
            {"compatibility": level},
        )

    def close(self) -> None:
        self._client.close()

    def _ask(
        self, method: str, path: str, what: str, body: dict[str, str] | None = None
    ) -> dict[str, Any]:
        at = f"{self._where}: {what}"
        content = None if body is None else json.dumps(body)
        try:
            answer = self._client.request(
                method, self._url + path, content=content, headers={"Content-Type": _CONTENT_TYPE}
            )
        except httpx.TransportError as error:
            raise RegistryUnavailableError(
                f"{at}: expected an answer within {_TIMEOUT_S:.0f} s, got {type(error).__name__}: "
                f"{error}; check SCHEMA_REGISTRY_URL and that the registry runs"
            ) from error
        if answer.is_success:
            return _json_object(at, answer)
        said = _message_of(answer)
        if answer.status_code == 404:
            raise UnknownSchemaError(
                f"{at}: expected it to be registered, got {said!r}; register it with "
                "`topics create`"
            )
        if answer.status_code == 409:
            raise IncompatibleSchemaError(
                f"{at}: expected a schema that keeps the subject's compatibility, got {said!r}"
            )
        if answer.status_code in (401, 403):
            raise SchemaError(
                f"{at}: expected to be let in, got {answer.status_code} {said!r}; check "
                "SCHEMA_REGISTRY_USER_INFO and the user's rights"
            )
        if answer.status_code >= 500 or answer.status_code in (408, 429):
            raise RegistryUnavailableError(
                f"{at}: expected an answer, got {answer.status_code} {said!r}; try again"
            )
        raise SchemaError(f"{at}: expected success, got {answer.status_code} {said!r}")


def _verify(where: str, ca_location: Path | None) -> ssl.SSLContext | bool:
    if ca_location is None:
        return True
    try:
        return ssl.create_default_context(cafile=str(ca_location))
    except (OSError, ssl.SSLError) as error:
        raise SchemaError(
            f"{where}: SCHEMA_REGISTRY_CA_LOCATION expected a PEM file of authorities, got "
            f"{str(ca_location)!r}: {error}"
        ) from error


def _json_object(at: str, answer: httpx.Response) -> dict[str, Any]:
    try:
        found = answer.json()
    except ValueError as error:
        raise SchemaError(
            f"{at}: expected JSON, got {answer.text[:80]!r}; check the path of SCHEMA_REGISTRY_URL"
        ) from error
    if not isinstance(found, dict):
        raise SchemaError(f"{at}: expected a JSON object, got {answer.text[:80]!r}")
    return found


def _message_of(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["message"])
    except (ValueError, KeyError, TypeError):
        return answer.text[:200]
