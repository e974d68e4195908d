"""What `train` says last: whether the ranker is worth having."""

from pathlib import Path

import numpy as np
import pytest

from streamrec.program.learning.train_run import Judgement
from tests.program.conftest import Shell

T0 = 1_767_225_600


def judgement(order: list[float], ranker: list[float]) -> Judgement:
    """Of questions whose answers are hits with these reciprocal ranks."""
    reciprocal = {
        "popularity": np.zeros(len(order)),
        "candidate order": np.array(order),
        "ranker": np.array(ranker),
    }
    return Judgement(
        {name: (each > 0).astype(float) for name, each in reciprocal.items()}, reciprocal
    )


@pytest.mark.parametrize(
    ("order", "ranker", "said"),
    [
        ([0.5, 0.0] * 200, [1.0, 0.5] * 200, None),
        ([0.5, 0.5] * 200, [0.5, 0.5] * 200, "the ranker is no better than the candidate order: "),
        ([1.0, 0.5] * 200, [0.5, 0.0] * 200, "the ranker is no better than the candidate order: "),
        # Now better, now worse, and a little better on the whole.
        ([1.0, 0.0] * 200, [0.0, 1.0] * 199 + [1.0, 1.0],
         "the ranker is not surely better than the candidate order: "),
        ([0.0] * 199, [1.0] * 199, "too few clicks to judge the ranker: 199 questions, of 200"),
    ],
)  # fmt: skip
def test_a_ranker_that_is_not_surely_better_is_told(
    order: list[float], ranker: list[float], said: str | None
) -> None:
    complaint = judgement(order, ranker).complaint()
    if said is None:
        assert complaint is None
    else:
        assert complaint is not None and complaint.startswith(said)


def test_the_last_line_says_that_there_are_too_few_clicks(
    embedded_shell: Shell, tmp_path: Path
) -> None:
    path = tmp_path / "log.csv"
    rows = "".join(f"u{n % 9},i{n % 5},{T0 + n}\n" for n in range(60))
    path.write_text("user_id,item_id,timestamp\n" + rows)
    answer = embedded_shell("train", str(path), "--budget", "0.01", "--out", str(tmp_path / "m"))
    assert answer.status == 0
    assert answer.err.splitlines()[-1].startswith("too few clicks for a ranker, which takes 200")


def test_the_last_line_says_that_the_ranker_is_no_better(
    embedded_shell: Shell, tmp_path: Path
) -> None:
    """What is clicked next is drawn by lot: no ranker can know it."""
    path = tmp_path / "log.csv"
    items = np.random.default_rng(0).integers(0, 30, 6_000).tolist()
    rows = "".join(f"u{n // 6},i{item},{T0 + n}\n" for n, item in enumerate(items))
    path.write_text("user_id,item_id,timestamp\n" + rows)
    answer = embedded_shell("train", str(path), "--budget", "0.01", "--out", str(tmp_path / "m"))
    assert answer.status == 0
    assert " better than the candidate order: " in answer.err.splitlines()[-1]
