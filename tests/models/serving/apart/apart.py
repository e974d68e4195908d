"""Predictors in processes of their own, of the models beside this file."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from streamrec.models.serving.apart.predictor import ApartPredictor
from streamrec.models.serving.apart.settings import Limits, Plan
from streamrec.models.serving.contract import Fault

FOLDER = str(Path(__file__).parent)


def plan(make: str = "Obedient", *arguments: Any) -> Plan:
    return Plan(f"apart_models:{make}", arguments, FOLDER)


@contextmanager
def apart(
    limits: Limits | None = None, make: str = "Obedient", arguments: Sequence[Any] = ()
) -> Iterator[ApartPredictor]:
    predictor = ApartPredictor(plan(make, *arguments), limits or Limits(), "obedient")
    try:
        yield predictor
    finally:
        predictor.close()


def does(*what: str) -> list[dict[str, Any]]:
    return [{"do": each, "n": n} for n, each in enumerate(what)]


def told(answers: Sequence[Any]) -> list[Any]:
    """Numbers of those answered, reasons of the others."""
    return [a.reason.value if isinstance(a, Fault) else a["n"] for a in answers]


def until(true: Callable[[], Any], timeout_s: float = 20.0) -> None:
    """Raises AssertionError where it does not come to be."""
    give_up_s = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < give_up_s, "it did not come to be"
        time.sleep(0.005)
