"""docs/serve.md, followed word by word: a class, a function and a trained file, served."""

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.docs.pages import Reader, blocks

pytestmark = pytest.mark.timeout(300)  # a dozen commands, each of which starts

PAGE = "serve.md"


@pytest.fixture
def follower(reader: Reader) -> "Follower":
    return Follower(reader)


class Follower:
    """Types the commands of a page, and keeps what they print."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        # On a broker that other tests use too, topics have names of their own.
        self.prefix = f"{reader.environment['STREAMREC_CONSUMER_GROUP']}-models"
        reader.environment["STREAMREC_PIPELINES_TOPIC"] = f"{self.prefix}-pipelines"
        names = ("flowers.jsonl", "orders.jsonl", "parcels.jsonl")
        files = dict(zip(names, blocks(PAGE, "json"), strict=True))
        iris, models, train = blocks(PAGE, "python")
        described, listed, _ = blocks(PAGE, "toml")
        files |= {"iris_model.py": iris, "models.py": models, "train.py": train}
        files |= {"late.toml": described, "served.toml": listed.replace("models", self.prefix, 1)}
        for name, text in files.items():
            (reader.folder / name).write_text(text, encoding="utf-8")

    def follow(self, script: str) -> list[str]:
        """What each line printed, in order."""
        return [self._type(line) for line in script.splitlines()]

    def _type(self, line: str) -> str:
        line = line.replace("models.", f"{self.prefix}.")
        command, _, given = line.partition(" < ")
        words = shlex.split(command, comments=True)
        if words[0] == "export":
            name, _, value = words[1].partition("=")
            self.reader.environment[name] = value
            return ""
        text = (self.reader.folder / given).read_text(encoding="utf-8") if given else ""
        if words[0] == "streamrec":
            if words[1:3] == ["pipeline", "create"]:
                words += ["--prefix", self.prefix]
            return self.reader.run(*words, given=text).stdout
        assert words[0] == "python"
        done = subprocess.run(
            [sys.executable, *words[1:]],
            cwd=self.reader.folder,
            env=self.reader.environment,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


def parsed(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


def species(text: str) -> list[str]:
    return sorted(flower["species"] for flower in parsed(text))


def test_three_models_are_served_by_the_pages_commands(follower: Follower) -> None:
    script, named = blocks(PAGE, "sh")
    *_, iris, shipping, late, errors = follower.follow(script)

    assert species(iris) == ["setosa", "versicolor"]
    orders = parsed(shipping)
    assert [each["value"] for each in orders] == [{"cents": 410}, {"cents": 800}]
    place = f"{follower.prefix}.shipping.1.0.inputs/{orders[0]['partition']}/0"
    assert {each["key"] for each in orders} == {"o1"}
    assert orders[0]["headers"]["streamrec-source"] == place
    assert orders[0]["headers"]["streamrec-model"] == "shipping/1.0"
    # Without keys they are on any partitions.
    second, first = sorted(parsed(late), key=lambda parcel: float(parcel["late"]))
    assert second["late"] < 0.2 and first["late"] > 0.6
    assert (first["served"]["model"], first["served"]["mode"]) == ("late", "served")
    (error,) = parsed(errors)
    assert error["reason"] == "invalid_value"
    assert "expected a value, got nothing" in error["message"]
    assert json.loads(error["value"]) == parsed(blocks(PAGE, "json")[0])[2]

    created, sent, _, received, failed, status, there, deleted = follower.follow(named)
    assert f"{follower.prefix}.flowers.1.0.inputs" in created
    assert species(received) == ["setosa", "versicolor"]
    assert [each["reason"] for each in parsed(failed)] == ["invalid_value"]
    assert "lag 0" in status and there.startswith("flowers\t1.0\t")
    assert "3 records" in status
    assert sent == "" and f"{follower.prefix}.flowers.1.0.outputs" in deleted


def test_what_is_no_model_is_told_by_all_that_is_missing(tmp_path: Path) -> None:
    (tmp_path / "half.py").write_text("class Half:\n    qualified_name = 'half'\n", "utf-8")
    told = Reader(tmp_path, {}).run("streamrec", "model", "check", "half:Half", status=2).stderr
    for missing in ("major_version", "input_schema", "output_schema", "predict(data)"):
        assert missing in told
