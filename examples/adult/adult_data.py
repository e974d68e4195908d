"""The Adult data (census income, UCI) as it is published, and a stand-in that is made up.

`adult.data` and `adult.test` are lines of fifteen values with `, ` between them; `?` is no value.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

NUMBERS = ("age", "education_num", "capital_gain", "capital_loss", "hours_per_week")
CATEGORIES = (
    "workclass",
    "education",
    "marital_status",
    "occupation",
    "relationship",
    "race",
    "sex",
    "native_country",
)
COLUMNS = (
    "age",
    "workclass",
    "fnlwgt",  # how many people a line stands for: nothing of the person, and not used
    "education",
    "education_num",
    "marital_status",
    "occupation",
    "relationship",
    "race",
    "sex",
    "capital_gain",
    "capital_loss",
    "hours_per_week",
    "native_country",
)
FILES = ("adult.data", "adult.test")  # to learn from, to judge by

Person = dict[str, float | str | None]


class Adults(NamedTuple):
    """People, and who of them earns more than 50,000 dollars a year."""

    people: list[Person]
    rich: list[bool]


class AdultError(Exception):
    """A line is not one of the Adult data."""


def read(path: Path) -> Adults:
    """One of the files as published. Raises AdultError, OSError."""
    found = Adults([], [])
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip() or line.startswith("|"):
            continue
        *values, income = line.rstrip(".").split(", ")
        if len(values) != len(COLUMNS) or income not in ("<=50K", ">50K"):
            raise AdultError(
                f"{path}, line {number}: expected {len(COLUMNS)} values and <=50K or >50K, "
                f"got {line!r}"
            )
        said = dict(zip(COLUMNS, values, strict=True))
        person: Person = {name: None if said[name] == "?" else said[name] for name in CATEGORIES}
        person |= {name: float(said[name]) for name in NUMBERS}
        found.people.append(person)
        found.rich.append(income == ">50K")
    return found


def make(folder: Path, seed: int = 1) -> None:
    """Write a small stand-in for both files: the same columns, some values, nobody's data."""
    rng = np.random.default_rng(seed)
    for name, n, end in zip(FILES, (2_000, 1_000), ("", "."), strict=True):
        lines = [_line(rng) + end for _ in range(n)]
        first = ["|1x3 Cross validator"] if end else []
        (folder / name).write_text("\n".join([*first, *lines]) + "\n", encoding="utf-8")


def _line(rng: np.random.Generator) -> str:
    schooling = int(rng.integers(1, 17))
    married = rng.random() < 0.5
    age, hours = int(rng.integers(17, 80)), int(np.clip(rng.normal(40, 10), 1, 99))
    gain = int(rng.random() < 0.06) * int(rng.integers(1_000, 20_000))
    odds = 0.35 * (schooling - 11) + 1.6 * married + 0.04 * (hours - 40) + gain / 4_000 - 1.5
    rich = rng.random() < 1 / (1 + np.exp(-odds))

    def one_of(*values: str) -> str:
        return str(rng.choice(np.array(values)))

    said = {
        "age": age,
        "workclass": one_of("Private", "Private", "Self-emp-not-inc", "State-gov", "?"),
        "fnlwgt": int(rng.integers(20_000, 400_000)),
        "education": "Bachelors" if schooling > 12 else "HS-grad",
        "education_num": schooling,
        "marital_status": "Married-civ-spouse" if married else one_of("Never-married", "Divorced"),
        "occupation": one_of("Adm-clerical", "Exec-managerial", "Sales", "Craft-repair", "?"),
        "relationship": "Husband" if married else "Not-in-family",
        "race": one_of("White", "Black", "Other"),
        "sex": one_of("Male", "Female"),
        "capital_gain": gain,
        "capital_loss": 0,
        "hours_per_week": hours,
        "native_country": one_of("United-States", "United-States", "Mexico", "?"),
    }
    return ", ".join(str(said[name]) for name in COLUMNS) + (", >50K" if rich else ", <=50K")


__all__ = ["CATEGORIES", "FILES", "NUMBERS", "AdultError", "Adults", "Person", "make", "read"]
