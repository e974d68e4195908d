import json
import os
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from streamrec.program import app
from tests.models.session_logs import item_lists, made_log


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["evaluate", *map(str, arguments)])
    return result.exit_code, result.output


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same sessions in both formats; the last 60 of 400 are the test."""
    folder = tmp_path_factory.mktemp("logs")
    log = made_log(400, 60, seed=1)
    cut = int(np.searchsorted(log.sessions, 340))
    for name, part in (("train", slice(0, cut)), ("test", slice(cut, None))):
        rows = zip(log.sessions[part], log.items[part], log.times_ms[part], strict=True)
        lines = [f"{session}\titem-{item}\t{time}" for session, item, time in rows]
        (folder / f"{name}.tsv").write_text("\n".join(["SessionId\tItemId\tTime", *lines]) + "\n")
    lists = [[f"item-{item}" for item in each] for each in item_lists(log)]
    (folder / "train.jsonl").write_text("\n".join(map(json.dumps, lists[:340])))
    (folder / "test.jsonl").write_text(
        "\n".join(
            json.dumps({"prefix": each[:end], "target": each[end]})
            for each in lists[340:]
            for end in range(1, len(each))
        )
    )
    return folder


def report(folder: Path, form: str, *more: object) -> dict[str, dict[str, object]]:
    out = folder / "out.json"
    code, output = run(
        *("--train", folder / f"train.{form}", "--test", folder / f"test.{form}"),
        *("--budget", "0.1", "--threads", 1, "--out", out, *more),
    )
    assert code == 0, output
    return {
        f"{each['model']} {'live' if each['prequential'] else 'static'}": each
        for each in json.loads(out.read_text())["results"]
    }


def figures(result: dict[str, object]) -> list[object]:
    return [result[name] for name in ("queries", "hr5", "hr10", "hr20", "mrr20", "repeats")]


def test_session_log_is_judged_static_and_live_and_equal_seeds_give_the_same_table(
    folder: Path,
) -> None:
    arguments = ("--models", "lightgbm,knn,popular", "--prequential")
    one, other = report(folder, "tsv", *arguments), report(folder, "tsv", *arguments)
    assert list(one) == [
        f"{model} {how}" for how in ("static", "live") for model in ("lightgbm", "knn", "popular")
    ]
    for name, result in one.items():
        assert figures(result) == figures(other[name])
    assert one["knn static"]["hr20"]["value"] > one["popular static"]["hr20"]["value"]  # type: ignore[index]


def test_both_formats_of_the_same_sessions_agree(folder: Path) -> None:
    """Methods that do not look at times say the same of both."""
    arguments = ("--models", "knn,popular")
    log, lines = report(folder, "tsv", *arguments), report(folder, "jsonl", *arguments)
    for name in ("knn static", "popular static"):
        assert log[name]["queries"] == lines[name]["queries"]
        assert log[name]["hr20"]["value"] == pytest.approx(lines[name]["hr20"]["value"], abs=0.02)  # type: ignore[index]


def test_limit_judges_the_first_only(folder: Path) -> None:
    results = report(folder, "jsonl", "--models", "popular", "--limit", 7)
    assert results["popular static"]["queries"] == 7


def test_bad_rows_are_named_and_the_rest_is_used(folder: Path, tmp_path: Path) -> None:
    train = tmp_path / "train.jsonl"
    train.write_text((folder / "train.jsonl").read_text() + "\n{broken\n")
    code, output = run(
        *("--train", train, "--test", folder / "test.jsonl", "--models", "popular"),
        *("--budget", 0.1),
    )
    assert code == 0, output
    assert "train.jsonl line 341: expected one JSON value" in " ".join(output.split())


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--models", "oracle"), "--models expected some of"),
        (("--prequential",), "--prequential expected a session log"),
        (("--budget", "0"), "budget_minutes expected > 0"),
    ],
)
def test_wrong_arguments_are_named(folder: Path, arguments: tuple[str, ...], expected: str) -> None:
    given = {"--models": "popular", "--budget": "0.1"}
    given.update(dict(zip(arguments[::2], arguments[1::2], strict=False)))
    flags = [each for each in arguments if each == "--prequential"]
    code, output = run(
        *("--train", folder / "train.jsonl", "--test", folder / "test.jsonl"),
        *(each for pair in given.items() for each in pair),
        *flags,
    )
    assert code == 2
    assert expected in " ".join(output.split())


def test_ranker_beats_its_best_method_on_real_sessions(tmp_path: Path) -> None:
    place = os.environ.get("STREAMREC_DATA")
    if place is None:
        pytest.skip("STREAMREC_DATA names no folder with yoochoose_100k_train.tsv")
    train, test = (Path(place) / f"yoochoose_100k_{part}.tsv" for part in ("train", "test"))
    out = tmp_path / "out.json"
    code, output = run(
        *("--train", train, "--test", test, "--budget", 1, "--out", out),
        *("--models", "lightgbm,knn,rules,two_hop"),
    )
    assert code == 0, output
    results = json.loads(out.read_text())["results"]
    for figure in ("hr20", "mrr20"):
        values = {each["model"]: each[figure]["value"] for each in results}
        assert max(values, key=lambda name: values[name]) == "lightgbm"
