"""The pages of iris and Adult, followed word by word."""

import json
import runpy
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.examples.pages import EXAMPLES, commands, ran
from tests.program.conftest import shell_with

pytestmark = pytest.mark.timeout(300)  # processes, on machines that may be busy


class Reader:
    """Somebody in a copy of an example's folder."""

    def __init__(self, example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = tmp_path / example
        made = shutil.ignore_patterns("adult.t*", "iris.json", "data")
        shutil.copytree(EXAMPLES / example, self.folder, ignore=made)
        self._monkeypatch = monkeypatch
        self._shell = shell_with({}, monkeypatch)

    def follows(self, command: list[str], where: str = ".") -> list[str]:
        """The lines that a command prints. Those that serve, or load a module of the reader's, have
        a process of their own."""
        folder = self.folder / where
        self._monkeypatch.chdir(folder)
        match command:
            case ["python", file, *given]:
                self._monkeypatch.setattr(sys, "argv", [file, *given])
                self._monkeypatch.syspath_prepend(folder)
                runpy.run_path(str(folder / file), run_name="__main__")
                return []
            case ["streamrec", *given, "<", file]:
                answer = self._shell(*given, stdin=(folder / file).read_bytes())
            case ["streamrec", *given] if "run" not in given and not any(":" in w for w in given):
                answer = self._shell(*given)
            case _:
                return ran(command, folder).splitlines()
        assert answer.status == 0, answer.err
        return answer.lines


def answers(lines: list[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines]


@pytest.fixture
def reader(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Reader:
    return Reader(request.param, tmp_path, monkeypatch)


@pytest.mark.parametrize("reader", ["iris"], indirect=True)
def test_iris_is_served_as_its_page_says(reader: Reader) -> None:
    page = EXAMPLES / "iris" / "README.md"
    train, check, *rest = commands(page)
    reader.follows(train)
    assert all(not line.startswith("wrong") for line in reader.follows(check))
    create, send, run, receive, receive_errors = rest
    assert reader.follows(create)[-1] == "pipeline iris: made, version 1.0 of iris_model:Iris"
    reader.follows(send)
    reader.follows(run)
    assert answers(reader.follows(receive)) == [{"species": "setosa"}, {"species": "virginica"}]
    (error,) = answers(reader.follows(receive_errors))
    assert error["reason"] == "invalid_value"
    told = "$.petal_length expected a number, got '4.2'"
    assert told in error["message"] and told in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("reader", ["iris"], indirect=True)
def test_a_module_called_models_is_the_users_own(reader: Reader) -> None:
    create, send, run, receive = commands(EXAMPLES / "iris" / "README.md", 1)
    reader.follows(create, "own_models")
    reader.follows(send, "own_models")
    reader.follows(run, "own_models")
    found = answers(reader.follows(receive, "own_models"))
    assert found == [{"species": "setosa"}, {"species": "virginica"}]


@pytest.mark.parametrize("reader", ["adult"], indirect=True)
def test_adult_is_served_as_its_page_says(reader: Reader) -> None:
    train, check, create, send, run, receive, receive_errors = commands(
        EXAMPLES / "adult" / "README.md"
    )
    reader.follows(train)
    assert (reader.folder / "adult.toml").is_file()
    assert reader.follows(check)
    assert reader.follows(create)[-1] == "pipeline adult: made, version 1.0 of adult.txt"
    reader.follows(send)
    reader.follows(run)
    found = answers(reader.follows(receive))
    assert len(found) == 3, "categories that are unseen and values that are missing are answered"
    for answer in found:
        assert answer["income"] in ("<=50K", ">50K")
        assert 0.5 <= answer["probability"] <= 1.0
    (error,) = answers(reader.follows(receive_errors))
    assert "$.age expected a number or null, got 'forty'" in error["message"]
