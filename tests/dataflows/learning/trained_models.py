"""Trained files for tests of published models: each answers with a number of its own."""

from pathlib import Path
from typing import Any

import numpy as np
import skops.io
from sklearn.dummy import DummyRegressor
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder

_DESCRIPTION = """
name = "m"
[[inputs]]
name = "{field}"
type = "number"
[output]
name = "answer"
"""

_OF_KINDS = """
name = "m"
[[inputs]]
name = "x"
type = "category"
categories = ["a"]
unseen = "pass"
[output]
name = "answer"
"""


def _folder(path: Path, model: Any, description: str) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    if not (path / "m.skops").exists():  # the file says when it was written
        skops.io.dump(model, path / "m.skops")
    (path / "m.toml").write_text(description)
    return path


def constant(path: Path, answer: float, field: str = "x") -> Path:
    """Answers always the same, to inputs with a number."""
    model = DummyRegressor(strategy="constant", constant=answer)
    return _folder(path, model.fit([[0.0]], [answer]), _DESCRIPTION.format(field=field))


def slow(path: Path, answer: float) -> Path:
    """The same, hundreds of times as slow: it looks at all that it has learned."""
    rows = np.linspace(0, 1, 200_000).reshape(-1, 1)
    model = KNeighborsRegressor(n_neighbors=1, algorithm="brute")
    return _folder(
        path, model.fit(rows, np.full(len(rows), answer)), _DESCRIPTION.format(field="x")
    )


def choosy(path: Path, answer: float, kinds: tuple[str, ...]) -> Path:
    """Throws at text that it has not learned."""
    texts = np.array([[kind] for kind in kinds], object)
    model = make_pipeline(
        OrdinalEncoder(), DummyRegressor(strategy="constant", constant=answer)
    ).fit(texts, [answer] * len(kinds))
    return _folder(path, model, _OF_KINDS)


__all__ = ["choosy", "constant", "slow"]
