"""Train on the Adult data, and write a LightGBM model and its description.

python train.py --data DIR     # with adult.data and adult.test
python train.py --made         # with a small stand-in, made up
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import lightgbm
import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, roc_auc_score

from adult_data import CATEGORIES, FILES, NUMBERS, AdultError, Adults, make, read

HERE = Path(__file__).parent
LIMITS = {
    "age": (0, 120),
    "education_num": (1, 16),
    "capital_gain": (0, 99_999),
    "capital_loss": (0, 99_999),
    "hours_per_week": (0, 168),
}
ROUNDS = 250
PARAMETERS = {
    "objective": "binary",
    "learning_rate": 0.05,
    "num_leaves": 31,
    "min_data_in_leaf": 20,
    "seed": 1,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "verbose": -1,
}

Known = dict[str, list[str]]  # the values of each category, in the order of their codes


def known_values(adults: Adults) -> Known:
    """What was seen of each category in training: a model knows no other."""
    return {
        name: sorted({str(p[name]) for p in adults.people if p[name] is not None})
        for name in CATEGORIES
    }


def matrix_of(adults: Adults, known: Known) -> NDArray[np.float64]:
    """(n, features), as the scorer hands them over: a category is its code, NaN where it is missing
    or was never seen."""
    codes = {name: {value: code for code, value in enumerate(known[name])} for name in CATEGORIES}
    rows = [
        [p[name] for name in NUMBERS] + [codes[name].get(str(p[name])) for name in CATEGORIES]
        for p in adults.people
    ]
    return np.array(rows, np.float64)


def description_of(known: Known) -> str:
    """TOML: what the inputs are, and what comes out."""
    parts = [
        'name = "adult"',
        'display_name = "Adult income"',
        'description = "Whether a person earned more than 50,000 dollars a year, in 1994."',
        'version = "1.0"',
    ]
    for name in NUMBERS:
        low, high = LIMITS[name]
        parts += ["", "[[inputs]]", f'name = "{name}"', 'type = "number"']
        parts += [f"min = {low}", f"max = {high}", "nullable = true"]
    for name in CATEGORIES:
        parts += ["", "[[inputs]]", f'name = "{name}"', 'type = "category"']
        parts += [f"categories = {json.dumps(known[name])}", 'unseen = "pass"', "nullable = true"]
    parts += ["", "[output]", 'name = "income"', 'labels = ["<=50K", ">50K"]']
    return "\n".join([*parts, 'probability = "probability"', ""])


def train(data: Path, out: Path) -> str:
    """Learn from one file, judge by the other; says how good it is. Raises AdultError, OSError."""
    learned, judged = (read(data / name) for name in FILES)
    known = known_values(learned)
    names = [*NUMBERS, *CATEGORIES]
    rows = lightgbm.Dataset(
        matrix_of(learned, known),
        learned.rich,
        feature_name=names,
        categorical_feature=list(CATEGORIES),
    )
    booster = lightgbm.train(PARAMETERS, rows, ROUNDS)
    booster.save_model(out)
    out.with_suffix(".toml").write_text(description_of(known), encoding="utf-8")
    chances = np.asarray(booster.predict(matrix_of(judged, known), num_threads=1))
    accuracy = accuracy_score(judged.rich, chances > 0.5)
    auc = roc_auc_score(judged.rich, chances)
    return f"{len(judged.rich):,} people of {FILES[1]}: accuracy {accuracy:.3f}, AUC {auc:.3f}"


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--data", type=Path, help="folder of adult.data and adult.test")
    where.add_argument("--made", action="store_true", help="train on a stand-in that is made up")
    parser.add_argument("--out", type=Path, default=HERE / "adult.txt")
    given = parser.parse_args(arguments)
    try:
        if given.made:
            with tempfile.TemporaryDirectory() as folder:
                make(Path(folder))
                told = train(Path(folder), given.out)
        else:
            told = train(given.data, given.out)
    except (OSError, AdultError) as error:
        sys.exit(str(error))
    print(f"{told}: {given.out}")


if __name__ == "__main__":
    main(sys.argv[1:])
