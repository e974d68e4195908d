"""Parameters chosen by Optuna (extra `learn`), within trials and seconds."""

import time
from collections.abc import Callable
from typing import Any

from streamrec.models.learning.fit import Parameters, Search
from streamrec.models.learning.recipe import Recipe, SearchSpan
from streamrec.models.loading import BadModel


def optuna_search(
    recipe: Recipe,
    trials: int,
    budget_s: float,
    clock_s: Callable[[], float] = time.monotonic,
) -> Search:
    """Tries the recipe's own parameters first; ends after so many trials, or when the next might
    not be done within the budget. Equal seeds try the same ones. Raises BadModel without Optuna."""
    try:
        import optuna  # an extra
    except ImportError:
        raise BadModel(
            f"recipe {recipe.name!r}: a search expected optuna to be installed: "
            "pip install 'streamrec[learn]'"
        ) from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)

    def search(quality: Callable[[Parameters], float]) -> Parameters:
        began_s = clock_s()
        study = optuna.create_study(
            direction="maximize", sampler=optuna.samplers.TPESampler(seed=recipe.seed)
        )
        best: tuple[float, Parameters] = (quality({}), {})
        longest_s = clock_s() - began_s
        for _ in range(trials):
            started_s = clock_s()
            if started_s - began_s + longest_s > budget_s:
                break
            trial = study.ask()
            tried = {name: _suggested(trial, name, span) for name, span in recipe.search.items()}
            value = quality(tried)
            study.tell(trial, value)
            if value > best[0]:
                best = value, tried
            longest_s = max(longest_s, clock_s() - started_s)
        return best[1]

    return search


def _suggested(trial: Any, name: str, span: SearchSpan) -> Any:
    if span.choices:
        return trial.suggest_categorical(name, list(span.choices))
    assert span.low is not None
    assert span.high is not None
    if span.whole:
        return trial.suggest_int(name, int(span.low), int(span.high), log=span.log)
    return trial.suggest_float(name, span.low, span.high, log=span.log)


__all__ = ["optuna_search"]
