import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.program.conftest import Shell


@pytest.fixture
def columns(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("COLUMNS", "120")
    yield


@pytest.mark.usefixtures("columns")
def test_demo_gets_out_what_it_must_and_beats_popularity(
    embedded_shell: Shell, tmp_path: Path
) -> None:
    file = tmp_path / "demo.sqlite"
    answer = embedded_shell(
        "demo", "--clicks", "20000", "--models", "none", "--path", str(file), "--seed", "3"
    )
    assert answer.status == 0, answer.out + answer.err
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in answer.lines]
    table = {row[0]: row[1:] for row in rows if row}
    came_out, had_to = table["recommendations"]
    assert came_out == had_to
    reasons = [name for name in table if name.startswith("errors: ")]
    assert len(reasons) == 6
    assert all(table[name][0] == table[name][1] for name in reasons)
    popular, blend = table["what is most popular"], table["untrained blend of sessions"]
    assert float(blend[1]) > 2 * float(popular[1])
    alone = {name: row for name, row in table.items() if name.startswith("candidate method ")}
    assert len(alone) == 7
    assert float(alone["candidate method popular alone"][1]) < float(blend[1])
    assert 1_000 < int(alone["candidate method rules alone"][2].replace(",", "")) < 2_500
    os.environ["EMBEDDED_LOG_PATH"] = str(file)
    assert len(embedded_shell("receive", "recommendations", "--max", "3").lines) == 3


def test_unknown_model_is_named(embedded_shell: Shell) -> None:
    answer = embedded_shell("demo", "--models", "none,oracle")
    assert answer.status == 2
    assert "oracle" in answer.err
