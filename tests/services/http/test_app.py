"""An app end to end: served by Granian, asked by an HTTP client that is not ours."""

import logging
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from streamrec.services.http.access import Access
from streamrec.services.http.app import Guard, HttpApp
from streamrec.services.http.cors import Cors
from streamrec.services.http.keys_file import KeysFile, create_key
from streamrec.services.http.limits import RequestLimits
from streamrec.services.http.rates import Rates
from tests.services.http.serving import served, served_by_uvicorn
from tests.services.http.tiny_app import ROUTES, tiny_app

JSON = {"content-type": "application/json"}
LIMITS = RequestLimits(body_bytes=2_000, json_depth=4, body_s=0.3)


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with served(tiny_app(Guard(limits=LIMITS))) as client:
        yield client


def test_json_comes_back(client: httpx.Client) -> None:
    answer = client.post("/echo", json={"a": [1, "ü"]})
    assert (answer.status_code, answer.json()) == (200, {"got": {"a": [1, "ü"]}})
    assert answer.headers["content-type"] == "application/json"


def test_the_same_app_runs_under_uvicorn() -> None:
    with served_by_uvicorn(tiny_app()) as client:
        assert client.post("/echo", json=[1]).json() == {"got": [1]}
        assert client.get("/health/ready").json() == {"status": "ready"}


@pytest.mark.parametrize(
    ("path", "name"), [("/things/a", "a"), ("/things/a%2Fb", "a/b"), ("/things/%C3%BC?n=2", "ü")]
)
def test_a_path_gives_its_params(client: httpx.Client, path: str, name: str) -> None:
    assert client.get(path).json()["name"] == name


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status", "expected"),
    [
        ("GET", "/none", None, {}, 404, "path expected"),
        ("GET", "/things/a/b", None, {}, 404, "path expected"),
        ("PUT", "/echo", b"1", {}, 405, "method expected POST"),
        ("POST", "/echo", b"{1", JSON, 400, "line 1, column 2"),
        ("POST", "/echo", b'{"a', JSON, 400, "unterminated string starting at line 1, column 2"),
        ("POST", "/echo", b'{"a":\n "\xff"}', JSON, 400, "got byte 0xff at line 2, column 3"),
        ("POST", "/echo", b'{"a": 1, "a": 2}', JSON, 400, "each field once, got 'a' again"),
        ("POST", "/echo", b"NaN", JSON, 400, "expected a number, got NaN"),
        ("POST", "/echo", b"[[[[[1]]]]]", JSON, 400, "at most 4 levels"),
        ("POST", "/echo", b"[" * 1_900, JSON, 400, "expected"),
        ("POST", "/echo", b"a=1", {"content-type": "text/html"}, 415, "application/json"),
        ("POST", "/echo", b"1", JSON | {"content-encoding": "gzip"}, 415, "identity"),
        ("POST", "/echo", b"x" * 2_001, JSON, 413, "at most 2000 bytes, got 2001"),
        ("POST", "/echo", b'"unfit"', JSON, 422, "field size expected int, got 'x'"),
        ("POST", "/echo", b'"broken"', JSON, 500, "its log says more"),
        ("GET", "/things/a?%FF=1", None, {}, 400, "query expected"),
    ],
)
def test_what_is_wrong_is_a_problem_that_says_it(
    client: httpx.Client,
    method: str,
    path: str,
    body: bytes | None,
    headers: dict[str, str],
    status: int,
    expected: str,
) -> None:
    answer = client.request(method, path, content=body, headers=headers)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert expected in problem["detail"]
    assert "secret" not in answer.text and "Traceback" not in answer.text


def test_a_problem_names_field_and_place(client: httpx.Client) -> None:
    assert client.post("/echo", content=b'"unfit"', headers=JSON).json()["field"] == "size"
    broken = client.post("/echo", content=b"[1,\n2", headers=JSON).json()
    assert broken["place"] == "line 2, column 2"


def test_methods_that_are_allowed_are_named(client: httpx.Client) -> None:
    assert client.put("/things/a").headers["allow"] == "DELETE, GET"
    head = client.head("/things/a")
    assert (head.status_code, head.content) == (200, b"")


def raw(client: httpx.Client, text: bytes) -> bytes:
    """What the server says to these bytes, until it closes or says nothing for a second."""
    with closing(socket.create_connection((client.base_url.host, client.base_url.port))) as sock:
        sock.settimeout(3.0)
        sock.sendall(text)
        said = b""
        while chunk := sock.recv(65_536):
            said += chunk
            if b"\r\n\r\n" in said:
                break
        return said


HEAD = b"POST /count HTTP/1.1\r\nhost: x\r\n"


def test_a_body_that_does_not_come_is_waited_for_so_long_and_no_longer(
    client: httpx.Client,
) -> None:
    assert b" 408 " in raw(client, HEAD + b"content-length: 10\r\n\r\n123")


def test_a_chunked_body_is_stopped_as_soon_as_it_is_too_long(client: httpx.Client) -> None:
    chunks = b"".join(b"%x\r\n%s\r\n" % (500, b"x" * 500) for _ in range(6))
    said = raw(client, HEAD + b"transfer-encoding: chunked\r\n\r\n" + chunks)  # without an end
    assert b" 413 " in said


def test_chunks_that_are_none_are_a_bad_request(client: httpx.Client) -> None:
    head = b"POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
    answer = raw(client, head + b"zz\r\n")
    assert b" 400 " in answer.splitlines()[0]
    assert b"body expected to be whole" in answer


def test_a_length_that_is_no_number_is_refused(client: httpx.Client) -> None:
    assert b" 400 " in raw(client, HEAD + b"content-length: ten\r\n\r\n0123456789")


def test_ready_says_why_not() -> None:
    with served(tiny_app(why_not_ready="the log is away")) as client:
        assert client.get("/health/live").status_code == 200
        answer = client.get("/health/ready")
        assert answer.status_code == 503
        assert answer.json()["detail"] == "not ready: the log is away"
        assert answer.headers["retry-after"] == "1"


def test_openapi_describes_each_route(client: httpx.Client) -> None:
    described = client.get("/openapi.json").json()
    assert described["openapi"].startswith("3.1")
    for route in ROUTES:
        operation = described["paths"][route.path][route.method.lower()]
        assert operation["summary"] == route.summary
        assert {"200", "401", "403", "429"} <= set(operation["responses"])
        assert ("requestBody" in operation) is bool(route.takes)


def test_whoever_comes_too_often_is_told_when_to_come_again() -> None:
    guard = Guard(rates_of_addresses=Rates(per_s=0.5, burst=2))
    with served(tiny_app(guard)) as client:
        answers = [client.get("/things/a") for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert 1 <= int(answers[2].headers["retry-after"]) <= 2
        assert client.get("/health/live").status_code == 200


def test_a_key_that_comes_too_often_is_told_so_and_another_is_not(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    keys = [create_key(path, name, ["things/*"]) for name in ("one", "two")]
    guard = Guard(access=Access(KeysFile(path)), rates_of_keys=Rates(per_s=0.5, burst=1))
    with served(tiny_app(guard)) as client:

        def asked(key: str) -> int:
            return client.get("/things/a", headers={"x-api-key": key}).status_code

        assert [asked(keys[0]), asked(keys[0]), asked(keys[1])] == [200, 429, 200]


def test_an_address_is_that_before_the_proxies_that_are_known() -> None:
    guard = Guard(rates_of_addresses=Rates(0.5, 1), proxies=frozenset(("127.0.0.1", "10.0.0.9")))
    with served(tiny_app(guard)) as client:

        def asked(forwarded: str) -> int:
            return client.get("/things/a", headers={"x-forwarded-for": forwarded}).status_code

        assert [asked("1.1.1.1, 10.0.0.9"), asked("2.2.2.2"), asked("9.9.9.9, 2.2.2.2")] == [
            200,
            200,
            429,  # what a client puts before is not believed
        ]


def test_pages_of_known_origins_may_ask_and_others_not() -> None:
    guard = Guard(cors=Cors(["https://shop.example"], credentials=True))
    asks = {"access-control-request-method": "POST"}
    with served(tiny_app(guard)) as client:
        known = client.options("/echo", headers={"origin": "https://shop.example", **asks})
        assert known.status_code == 204
        assert known.headers["access-control-allow-origin"] == "https://shop.example"
        assert known.headers["access-control-allow-methods"] == "POST"
        assert known.headers["access-control-allow-credentials"] == "true"
        other = client.options("/echo", headers={"origin": "https://evil.example", **asks})
        assert "access-control-allow-origin" not in other.headers
        answer = client.post("/echo", json=1, headers={"origin": "https://shop.example"})
        assert answer.headers["access-control-allow-origin"] == "https://shop.example"


def test_all_origins_never_get_credentials() -> None:
    names = [name for name, _ in Cors(["*"], credentials=True).headers(b"https://a.example")]
    assert names == [b"access-control-allow-origin"]


def test_the_access_log_names_routes_and_nobody(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "streamrec.access")
    with served(tiny_app(Guard(access_log=True))) as client:
        client.get("/things/u-personal?key=hush")
    (line,) = [r.getMessage() for r in caplog.records if r.name == "streamrec.access"]
    assert line.startswith("GET /things/{name} 200 ")


def test_a_running_request_is_answered_though_the_server_was_asked_to_stop() -> None:
    app: HttpApp = tiny_app(Guard(limits=RequestLimits(body_s=5.0)))
    with served(app) as client:
        address = (client.base_url.host, client.base_url.port)
        sock = socket.create_connection(address)
        sock.sendall(HEAD + b"content-length: 4\r\n\r\n12")
        while app.running == 0:
            client.get("/health/live")
        app.drain()
        assert client.get("/health/ready").json()["detail"] == "not ready: draining"
        sock.sendall(b"34")
        said = sock.recv(65_536)
        sock.close()
    assert b" 200 " in said
    with pytest.raises(OSError):
        socket.create_connection(address, timeout=1)
