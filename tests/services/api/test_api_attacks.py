"""Each route of the API, tried with all that it must withstand."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from streamrec.services.api.app import ApiApp
from tests.services.api.conftest import World, until_ready
from tests.services.http.attacks import attacks_on, guard_with, keys_in

PATHS = {"{user": "u7", "{item": "i1"}


def path_of(template: str) -> str:
    """A path that a route answers."""
    parts = []
    for part in template.split("/"):
        name = part.partition("*")[0].rstrip("}")
        parts.append(PATHS[name] if part.startswith("{") else part)
    return "/".join(parts)


def test_each_route_withstands_and_tells_no_secret(
    world: World,
    serve_api: Callable[..., Any],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    keys = keys_in(tmp_path)
    routes = ApiApp(world.job.log, world.settings).http.routes
    tried = 0
    with serve_api(guard_with(keys)) as client:
        until_ready(client)
        address = (client.base_url.host, client.base_url.port)
        for route in routes:
            for attack in attacks_on(route, keys):
                status, said = attack.send(address, route.method, path_of(route.path))
                assert status in attack.statuses, (route.path, attack.name, said)
                for secret in (*keys.secrets, "Traceback"):
                    assert secret.encode() not in said.partition(b"\r\n\r\n")[2], attack.name
                tried += 1
    assert tried >= 11 * 7
    for secret in (*keys.secrets, "Traceback"):
        assert secret not in caplog.text
