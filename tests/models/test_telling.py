"""Progress in few lines: each phase's last word, and some in between."""

import time

import pytest

from streamrec.models.training.telling import Telling


def test_each_phase_says_its_last_word_and_little_in_between(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    told: list[str] = []
    tell = Telling(told.append, every_s=10.0)
    for number in range(30):
        now[0] += 1.0
        tell(f"weights: {number}")
    for number in range(3):
        now[0] += 1.0
        tell(f"trees: {number}")
    tell.end()
    assert told == ["weights: 9", "weights: 19", "weights: 29", "trees: 2"]
