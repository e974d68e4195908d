"""The Adult example: its data, its recipe, and how good it is where the data are there."""

import os
import runpy
from pathlib import Path

import numpy as np
import pytest

from adult_data import CATEGORIES, FILES, NUMBERS, AdultError, make, read
from tests.examples.pages import EXAMPLES

TRAIN = runpy.run_path(str(EXAMPLES / "adult" / "train.py"))
DATA = os.environ.get("ADULT_DATA")  # folder of adult.data and adult.test


def test_what_is_made_up_is_read_as_what_is_published(tmp_path: Path) -> None:
    make(tmp_path)
    learned, judged = (read(tmp_path / name) for name in FILES)
    assert (len(learned.people), len(judged.people)) == (2_000, 1_000)
    assert set(learned.people[0]) == {*NUMBERS, *CATEGORIES}
    assert any(person["workclass"] is None for person in learned.people)
    assert 0.1 < np.mean(learned.rich) < 0.6


def test_unseen_and_missing_values_are_alike_to_the_model(tmp_path: Path) -> None:
    make(tmp_path)
    adults = read(tmp_path / FILES[0])
    known = TRAIN["known_values"](adults)
    one = adults.people[0]
    same = [{**one, "native_country": country} for country in ("Atlantis", None)]
    matrix = TRAIN["matrix_of"](adults._replace(people=same), known)
    assert np.isnan(matrix[:, -1]).all()
    assert np.array_equal(matrix[0], matrix[1], equal_nan=True)


@pytest.mark.parametrize("line", ["39, Private", "x" * 20, ", ".join("1" * 14) + ", rich"])
def test_a_line_that_is_none_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / FILES[0]
    path.write_text(f"|comment\n\n{line}\n", encoding="utf-8")
    with pytest.raises(AdultError, match="line 3: expected 14 values"):
        read(path)


@pytest.mark.skipif(DATA is None, reason="the Adult data are elsewhere: ADULT_DATA names no folder")
def test_the_page_states_what_the_recipe_reaches(tmp_path: Path) -> None:
    told = TRAIN["train"](Path(str(DATA)), tmp_path / "adult.txt")
    assert told in (EXAMPLES / "adult" / "README.md").read_text(encoding="utf-8")
