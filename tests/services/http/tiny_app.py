"""A service of a few routes, for tests of what all services stand on."""

from streamrec.services.http.app import Guard, HttpApp
from streamrec.services.http.problems import Problem
from streamrec.services.http.replies import Reply, json_reply
from streamrec.services.http.requests import Request
from streamrec.services.http.routes import Route


async def echo(request: Request) -> Reply:
    value = await request.json()
    if value == "unfit":
        raise Problem(422, "field size expected int, got 'x'", field="size")
    if value == "broken":
        raise RuntimeError("with a secret in it")
    return json_reply({"got": value})


async def count(request: Request) -> Reply:
    return Reply(200, b"%d" % len(await request.body()), b"text/plain")


async def named(request: Request) -> Reply:
    return json_reply({"name": request.params["name"], "query": request.query})


ROUTES = (
    Route(
        "POST", "/echo", echo, "echo", "What came.", takes=("application/json",), key_in_query=True
    ),
    Route("POST", "/count", count, "count", "Bytes of it.", takes=("*/*",)),
    Route("GET", "/things/{name}", named, "things/{name}", "One thing.", query={"n": "how many"}),
    Route("DELETE", "/things/{name}", named, "things/{name}", "No more of it."),
)


def tiny_app(guard: Guard | None = None, why_not_ready: str | None = None) -> HttpApp:
    return HttpApp("tiny", ROUTES, guard, lambda: why_not_ready)
