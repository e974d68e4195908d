"""The learning demo: what its world does, and what its figures say."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamrec.shop.learning.figures import Figure, TimeSpan, figure_of
from streamrec.shop.learning.files import FROZEN, ONLINE, PIPELINES, RETRAINED
from streamrec.shop.learning.offers import GROUPS, Offers
from streamrec.shop.learning.run import LearningVerdict
from streamrec.shop.learning.sending import Told

TOLD = Told(0, 1, 2, 3, 4)


def window(start_ms: int, value: float, count: int, **fields: Any) -> dict[str, Any]:
    plain = {
        "pipeline": "online",
        "metric": "auc",
        "segment": "all",
        "version": "",
        "variant": "",
        "value": value,
        "low": value - 0.1,
        "high": value + 0.1,
        "count": count,
        "window_start": start_ms,
        "window_end": start_ms + 10,
    }
    return {**plain, **fields}


def verdict(**values: tuple[float, float]) -> LearningVerdict:
    figures = {
        name: {
            when: Figure(value, value - 0.01, value + 0.01, 100)
            for when, value in zip(("before", "after"), values[name], strict=True)
        }
        for name in PIPELINES
    }
    return LearningVerdict(TOLD, figures, dict.fromkeys(PIPELINES, 1), [])


def test_a_shift_turns_what_groups_like_and_leaves_prices_alone() -> None:
    offers = Offers(7)
    before = offers.tastes.likes.copy()
    offers.shift()
    after = offers.tastes.likes
    assert (np.abs(before) == np.abs(after)).all()
    stayed = (before == after).sum(axis=1)
    assert stayed.tolist() == [2] * len(GROUPS)  # one that is liked, and one that is not


def test_the_same_seed_makes_the_same_offers() -> None:
    first, again, other = (list(Offers(seed).made(50)) for seed in (1, 1, 2))
    assert first == again != other


def test_a_figure_is_the_mean_of_whole_windows_by_their_counts() -> None:
    records = [
        window(0, 0.9, 100),
        window(10, 0.6, 300),
        window(20, 0.1, 100),  # ends behind the span
        window(10, 0.2, 100, version="v1"),
        window(10, 0.2, 100, variant="a"),
        window(10, 0.2, 100, segment="position=0"),
        window(10, 0.2, 100, pipeline="frozen"),
    ]
    found = figure_of(records, "online", "auc", TimeSpan(0, 25))
    assert found is not None
    assert found.value == pytest.approx(0.675)
    assert found.count == 400
    # Standard errors add by their squares: less than the interval of either window.
    assert found.high - found.value == pytest.approx(0.1 * np.hypot(0.25, 0.75))
    assert figure_of(records, "online", "auc", TimeSpan(100, 200)) is None


def test_a_frozen_model_that_does_not_fall_and_others_that_do_not_recover_are_told() -> None:
    good = verdict(frozen=(0.9, 0.4), retrained=(0.9, 0.85), online=(0.9, 0.86))
    assert good.wrong() == []
    bad = verdict(frozen=(0.9, 0.9), retrained=(0.9, 0.7), online=(0.9, 0.95))
    told = "\n".join(bad.wrong())
    assert f"{FROZEN} expected to fall" in told
    assert f"{RETRAINED} expected to recover" in told
    assert f"{ONLINE} expected" not in told


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_demo_ends_well_and_leaves_its_figures_and_a_picture(tmp_path: Path) -> None:
    out = tmp_path / "learning.json"
    command = [sys.executable, "-m", "streamrec", "demo", "--learning", "--out", str(out)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=390)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    figures = json.loads(out.read_text())
    assert figures["frozen"]["after"]["value"] < 0.5 < figures["online"]["after"]["value"]
    assert figures["retrained"]["versions"] > 1
    assert out.with_suffix(".png").read_bytes()[:4] == b"\x89PNG"
