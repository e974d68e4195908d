"""`models`: published, listed, promoted, rolled back, pinned; each change a record."""

import json
from pathlib import Path

import pytest

from tests.dataflows.learning.trained_models import constant
from tests.program.conftest import Shell


@pytest.fixture
def models(embedded_shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert embedded_shell("topics", "create").status == 0
    return lambda *arguments, **given: embedded_shell("models", *arguments, **given)


def test_versions_are_published_and_chosen_by_hand_each_with_who_when_and_why(
    models: Shell, tmp_path: Path
) -> None:
    one = constant(tmp_path / "one", 1.0)
    two = constant(tmp_path / "two", 2.0) / "m.skops"
    (tmp_path / "about.json").write_text('{"metrics": {"auc": 0.9}}')

    def done(*arguments: str) -> str:
        found = models(*arguments)
        assert found.status == 0, found.err
        return found.out.strip()

    first = done("publish", "m", str(one), "--why", "the first", "--who", "ann")
    second = done("publish", "m", str(two), "--challenger", "--about", str(tmp_path / "about.json"))
    listed = [line.split("\t") for line in done("list").splitlines()]
    assert [line[:4] for line in listed] == [
        ["m", "1", first, "champion"],
        ["m", "2", second, "challenger"],
    ]
    assert listed[0][5:] == ["ann", "the first"]
    assert done("promote", "m", "--why", "better") == second
    assert done("rollback", "m") == first
    assert done("pin", "m", second[:5]) == second
    promoted = models("promote", "m", "1")
    assert (promoted.status, promoted.out) == (0, f"{first}\n")
    assert f"version {second} is pinned, and goes on answering" in promoted.err
    assert done("unpin", "m") == first
    shown = json.loads(done("show", "m", "2", "--json"))
    assert shown["about"]["metrics"] == {"auc": 0.9}
    assert shown["about"]["input_schema"]["required"] == ["x"]
    assert [event["kind"] for event in shown["events"]] == ["published", "promoted", "pinned"]
    assert "promoted by" in done("show", "m")
    place = tmp_path / "two.zip"
    assert done("publish", "beside", str(two), "--place", str(place)) and place.is_file()
    assert json.loads(done("show", "beside", "--json"))["parts"] == 0


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (("publish", "m", "none.skops"), 1, "expected a file, found none"),
        (("publish", "m", "."), 1, "expected a manifest.json or one description"),
        (("publish", "m", ".", "--challenger", "--aside"), 2, "got both"),
        (("promote", "m", "1"), 1, "expected a model 'm', got none"),
        (("rollback", "m"), 1, "expected a model 'm', got none"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line(
    models: Shell,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    status: int,
    told: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    found = models(*arguments)
    assert found.status == status
    assert found.err.startswith("streamrec: ") and found.err.count("\n") == 1
    assert told in found.err


def test_a_file_that_does_not_load_is_not_published(models: Shell, tmp_path: Path) -> None:
    folder = constant(tmp_path / "one", 1.0)
    (folder / "m.skops").write_bytes(b"garbage")
    found = models("publish", "m", str(folder))
    assert found.status == 1 and "expected a skops file" in found.err
    assert models("list").out == ""
