"""A model called inside its process: one answer for each input, whatever the model does."""

import traceback
from collections.abc import Callable, Sequence

from streamrec.models.serving.contract import Answer, Fault, Input, Predictor
from streamrec.schemas.reasons import Reason
from streamrec.user_code import told


def answers_of(
    predictor: Predictor,
    inputs: Sequence[Input],
    one_by_one: bool,
    at: Callable[[int], None],
) -> list[Answer | Fault]:
    """`at` is told the index at which each call begins. What ends a process passes."""
    if not one_by_one:
        at(0)
        return _called(predictor, inputs)
    answers: list[Answer | Fault] = []
    for index, given in enumerate(inputs):
        at(index)
        answers += _called(predictor, [given])
    return answers


def _called(predictor: Predictor, inputs: Sequence[Input]) -> list[Answer | Fault]:
    """A predictor that breaks its contract for a batch is asked for each record alone."""
    try:
        answers = predictor.predict(inputs)
        if not isinstance(answers, list) or len(answers) != len(inputs):
            count = len(answers) if isinstance(answers, list) else type(answers).__name__
            raise ValueError(f"predict expected a list of {len(inputs)} answers, got {count}")
    except Exception as error:  # noqa: BLE001  # the model's code
        if len(inputs) > 1:
            return [answer for given in inputs for answer in _called(predictor, [given])]
        return [
            Fault(
                Reason.MODEL_FAILED,
                told(error),
                type(error).__name__,
                "".join(traceback.format_exception(error)),
            )
        ]
    return answers


__all__ = ["answers_of"]
