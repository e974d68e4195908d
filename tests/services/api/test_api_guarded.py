"""Keys of the API's routes, and what it says while something is missing."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from streamrec.services.api.app import ApiApp
from streamrec.services.http.access import Access
from streamrec.services.http.app import Guard
from streamrec.services.http.keys_file import KeysFile, create_key
from streamrec.services.store.folder import FolderStore
from streamrec.services.store.opening import open_store
from streamrec.services.store.users import USERS, packed
from tests.services.api.conftest import World, until_ready
from tests.services.conftest import RedisServer
from tests.services.http.serving import served

ROUTES = [
    ("GET", "/recommendations/u7", "recommendations"),
    ("POST", "/recommendations", "recommendations"),
    ("POST", "/rank", "recommendations"),
    ("GET", "/items/i1/neighbours", "recommendations"),
    ("GET", "/popular", "recommendations"),
    ("GET", "/latest", "recommendations"),
    ("GET", "/users/u7", "users"),
]


def test_each_route_wants_a_key_of_its_scope(
    serve_api: Callable[[Guard], Any], tmp_path: Path
) -> None:
    path = tmp_path / "keys.jsonl"
    keys = {scope: create_key(path, scope, [scope]) for scope in ("recommendations", "users")}
    guard = Guard(access=Access(KeysFile(path)))

    with serve_api(guard) as client:
        until_ready(client)
        for method, route, scope in ROUTES:
            body = {"json": {"items": ["i1"], "session": ["i2"]}} if method == "POST" else {}

            def status(key: str | None, sent: Any = (method, route, body)) -> int:
                verb, path, body = sent
                headers = {} if key is None else {"authorization": f"Bearer {key}"}
                reply: httpx.Response = client.request(verb, path, headers=headers, **body)
                return reply.status_code

            other = keys["users" if scope == "recommendations" else "recommendations"]
            assert (status(None), status("made up"), status(other)) == (401, 401, 403), route
            assert status(keys[scope]) == 200, route


def test_no_route_is_left_out_above(world: World) -> None:
    described = {
        (route.method, route.path.partition("{")[0])
        for route in ApiApp(world.job.log, world.settings).http.routes
        if route.scope is not None
    }

    assert len(described) == len(ROUTES)


def test_an_api_without_a_store_is_not_ready_and_says_where_and_what_makes_one_in_its_log_only(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = world.settings.model_copy(update={"store": str(tmp_path / "store")})

    with served(ApiApp(world.job.log, settings).http) as client:
        for path, said in (
            ("/health/ready", "the store cannot be read now; this service's log says why"),
            ("/recommendations/u7", "the store cannot be read now"),
            ("/users/u7", "the store cannot be read now"),
        ):
            reply = client.get(path)
            assert reply.status_code == 503, path
            assert said in reply.json()["detail"]
            assert reply.headers["retry-after"] == "1"
            assert str(tmp_path) not in reply.text
        assert "expected a store, got none; run dataflows.store" in caplog.text
        FolderStore(tmp_path / "store", make=True).put(USERS, [])
        until_ready(client)  # within half a second


def test_a_record_that_cannot_be_read_is_told_without_a_word_of_it(
    world: World, tmp_path: Path
) -> None:
    settings = world.settings.model_copy(update={"store": str(tmp_path / "store")})
    store = FolderStore(tmp_path / "store", make=True)
    store.put(USERS, [(b"u1", packed(1, 0, 0, b"i1", b"garbled secret"))])

    with served(ApiApp(world.job.log, settings).http) as client:
        until_ready(client)
        reply = client.get("/recommendations/u1")

    assert reply.status_code == 500
    assert reply.json()["detail"] == "the store holds a record that cannot be read"
    store.close()


def test_wrong_settings_of_the_store_are_told(world: World) -> None:
    settings = world.settings.model_copy(update={"store": "postgres://me:secret@here"})

    with pytest.raises(Exception, match=r"STREAMREC_STORE expected a folder or redis") as raised:
        ApiApp(world.job.log, settings)

    assert "secret" not in str(raised.value)


def test_a_server_that_is_away_is_told_and_found_again(
    world: World, redis_server: RedisServer
) -> None:
    redis_server.flush()
    with closing(open_store(world.settings.store)) as kept:
        (value,) = kept.get(USERS, [b"u7"])
    assert value is not None
    with closing(open_store(redis_server.url)) as server:
        server.put(USERS, [(b"u7", value)])
    settings = world.settings.model_copy(update={"store": redis_server.url})

    with served(ApiApp(world.job.log, settings).http) as client:
        until_ready(client)
        wanted = client.get("/recommendations/u7").json()["recommendation_id"]
        assert wanted == world.answers["u7"]["recommendation_id"]

        redis_server.kill()
        assert client.get("/recommendations/u7").status_code == 503
        assert client.get("/recommendations/u7").status_code == 503
        while client.get("/health/ready").status_code == 200:
            pass
        assert client.get("/health/live").status_code == 200

        redis_server.start()
        until_ready(client)
        while (reply := client.get("/recommendations/u7")).status_code == 503:
            pass
        assert reply.json()["recommendation_id"] == wanted
