"""What a class of somebody else's gets wrong is told before it is served."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamrec.models.contract import Ranking, check_ranking
from streamrec.models.loading import BadModel, load_model
from streamrec.schemas.columns import strings

_MODULE = """
from streamrec import ModelInfo, Ranking
class Base:
    info = ModelInfo(name="b", version="1")
    def recommend(self, sessions, k): return Ranking.of_lists([[]] * len(sessions))
    def learn(self, sessions): pass
class InfoRaises(Base):
    @property
    def info(self): raise ValueError("no info today")
class InfoNone(Base): info = None
class IntVersion(Base): info = ModelInfo(name="b", version=3)
class Scope(Base): scope = "Shard"
class Exits(Base):
    def __init__(self): raise SystemExit(0)
"""


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hostile_models.py").write_text(_MODULE)
    (tmp_path / "hostile_exit.py").write_text("raise SystemExit(0)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delitem(sys.modules, "hostile_models", raising=False)


@pytest.mark.usefixtures("hostile")
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("hostile_models:InfoRaises", "info expected a ModelInfo, raised ValueError"),
        ("hostile_models:InfoNone", "info expected a ModelInfo, got None"),
        ("hostile_models:IntVersion", "info expected strings, got 3"),
        ("hostile_models:Scope", "scope expected 'process' or 'shard', got 'Shard'"),
        ("hostile_models:Exits", "could not be made without arguments: SystemExit"),
        ("hostile_exit:X", "cannot be imported"),
        ("sys:nope", "expected a class or function 'nope' in sys"),
        (":", "cannot be imported"),
    ],
)
def test_what_cannot_be_served_is_refused_at_the_start(name: str, expected: str) -> None:
    with pytest.raises(BadModel, match=expected):
        load_model(name)


def ranking(n: int = 2, **wrong: Any) -> Ranking:
    good: dict[str, object] = {
        "item_ids": strings(["a"] * n),
        "bounds": np.arange(n + 1),
        "scores": np.ones(n, np.float32),
        "methods": np.zeros(n, np.int32),
    }
    return Ranking(**(good | wrong))  # type: ignore[arg-type]  # what a user may hand over


@pytest.mark.parametrize(
    "wrong",
    [
        {"item_ids": ["a", "b"]},
        {"item_ids": strings(["a"])},
        {"item_ids": strings(["a", None])},
        {"scores": np.ones(1, np.float32)},
        {"scores": [1.0, 1.0]},
        {"methods": None},
        {"bounds": np.array([0, 2, 1])},
        {"bounds": np.array([0, 1])},
        {"bounds": np.array([0, 10, 20])},
    ],
)
def test_an_answer_that_could_not_be_encoded_is_refused(wrong: dict[str, Any]) -> None:
    check_ranking(ranking(), 2)
    with pytest.raises((TypeError, ValueError), match="expected"):
        check_ranking(ranking(**wrong), 2)
