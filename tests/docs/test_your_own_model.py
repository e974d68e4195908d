"""docs/your-own-model.md, followed: a class of somebody else's, served by configuration alone."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.docs.pages import Reader, blocks

PAGE = "your-own-model.md"
START_MS = 1_767_225_600_000


@pytest.fixture
def model(reader: Reader) -> Reader:
    (module,) = blocks(PAGE, "python")
    (reader.folder / "models.py").write_text(module, encoding="utf-8")
    return reader


def click(number: int, user: str, item: str) -> str:
    time_ms = START_MS + number * 1_000
    fields = {"user_id": user, "item_id": item, "event_type": "view", "timestamp": time_ms}
    return json.dumps(fields)


def received(reader: Reader, topic: str) -> list[dict[str, Any]]:
    name = reader.environment[f"STREAMREC_{topic.upper()}_TOPIC"]
    lines = reader.run("streamrec", "receive", name).stdout.split("\n")[:-1]
    return [json.loads(line) for line in lines]


def test_a_class_in_the_users_own_models_py_is_served_by_the_pages_commands(model: Reader) -> None:
    check, create, run = blocks(PAGE, "sh")[0].splitlines()
    checked = model.run(*shlex.split(check, comments=True)).stdout.split("\n")[:-1]
    assert len(checked) >= 8
    assert all(line.startswith("ok ") for line in checked), checked
    model.run(*shlex.split(create, comments=True))
    variable, *command = shlex.split(run)
    name, _, value = variable.partition("=")
    variables: dict[str, Any] = {name: value, "STREAMREC_FOLLOW": "false"}
    users = ["u1", "u2", "nobody", "u3", "u1", "nobody"]
    clicks_topic = model.environment["STREAMREC_CLICKS_TOPIC"]
    first = "\n".join(click(n, f"v{n % 5}", ["i1", "i2", "i1"][n % 3]) for n in range(30))
    model.run("streamrec", "send", clicks_topic, given=first)
    model.run(*command, **variables)
    second = "\n".join(click(40 + n, user, "i3") for n, user in enumerate(users))
    model.run("streamrec", "send", clicks_topic, given=second)

    model.run(*command, **variables)

    answers = received(model, "recommendations")
    assert len(answers) == 30 + 4
    asked = [answer for answer in answers if answer["item_id"] == "i3"]
    assert sorted(answer["user_id"] for answer in asked) == ["u1", "u1", "u2", "u3"]
    for answer in asked:
        # What the first run learned came back from the topic of sessions.
        assert [item["item_id"] for item in answer["items"]][:2] == ["i1", "i2"]
        assert (answer["model_name"], answer["model_version"]) == ("trending", "1")
    errors = received(model, "errors")
    assert {error["reason"] for error in errors} == {"model_failed"}
    assert len(errors) == 2
    assert all("no answer for nobody" in error["message"] for error in errors)
    assert all("models.py" in error["stacktrace"] for error in errors)


def test_what_is_no_model_is_told_by_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "models.py").write_text("class Half:\n    info = 3\n    def learn(self, s): ...\n")
    reader = Reader(tmp_path, {})
    told = reader.run("streamrec", "model", "check", "models:Half", status=2).stderr
    assert "expected recommend, learn" in told and "got no recommend" in told
    told = reader.run("streamrec", "model", "check", "models:Other", status=2).stderr
    assert "expected a class or function 'Other'" in told and "it holds Half" in told
    told = reader.run("streamrec", "model", "check", "nothing_here:Thing", status=2).stderr
    assert "module 'nothing_here' cannot be imported" in told
